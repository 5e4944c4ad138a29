import { toJson } from "@bufbuild/protobuf";
import { z } from "zod";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { EventRecord } from "../eventlog/record.ts";

/** The longest line that a reader takes, in bytes: what a message of 8 MiB, NATS' recommended most, can become. */
export const maxLineBytes = 64 * 1024 * 1024;

const storedLine = z.object({
  position: z.string().regex(/^\d{1,20}$/),
  prevHash: z.hex().length(64),
  hash: z.hex().length(64),
  storedBytes: z.base64(),
});

/** The line of events.jsonl for a record, its line break included: what the log stores, and its readable form beside it. */
export function eventLine(record: EventRecord): Uint8Array {
  const { position, prevHash, hash, body, event } = record;
  const line = {
    position: String(position),
    streamSequence: String(event.streamSequence),
    prevHash: Buffer.from(prevHash).toString("hex"),
    hash: Buffer.from(hash).toString("hex"),
    storedBytes: Buffer.from(body).toString("base64"),
    event: toJson(EventSchema, event),
  };
  return Buffer.from(`${JSON.stringify(line)}\n`);
}

/** What a line says that the log stores. Throws when it is no such line; the readable form is not looked at. */
export function readEventLine(line: Uint8Array): EventRecord {
  const { position, prevHash, hash, storedBytes } = storedLine.parse(JSON.parse(Buffer.from(line).toString()));
  return new EventRecord({
    position: BigInt(position),
    subject: "",
    body: Buffer.from(storedBytes, "base64"),
    prevHash: Buffer.from(prevHash, "hex"),
    hash: Buffer.from(hash, "hex"),
  });
}
