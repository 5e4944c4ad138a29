import { randomBytes } from "node:crypto";
import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { chainHash, encodeBody, EventRecord, genesisHash } from "../../src/eventlog/record.ts";
import { createAppender } from "../support/appender.ts";

function record(position = 7n): EventRecord {
  const unused = { subjects: createSubjects(), append: () => Promise.resolve(undefined) };
  const { body, subject, prevHash, hash } = createAppender(unused).publication({ id: "run_1", roomId: "room_1" });
  return new EventRecord({ body, subject, prevHash, hash, position });
}

test("the wire bytes begin with the stored bytes and decode to the complete event", () => {
  const { wire, event, body, hash } = record();
  expect(Buffer.from(wire.subarray(0, body.length))).toEqual(Buffer.from(body));
  expect(equals(EventSchema, fromBinary(EventSchema, wire), event)).toBe(true);
  expect(event).toMatchObject({ position: 7n, roomId: "room_1", hash, prevHash: genesisHash });
});

test("what only the log can know is not stored", () => {
  const event = record().event;
  const stored = fromBinary(EventSchema, encodeBody(event));
  expect(stored).toMatchObject({ position: 0n, prevHash: new Uint8Array(), hash: new Uint8Array() });
});

test("encoding the event again gives the stored bytes", () => {
  const { body, event } = record();
  expect(Buffer.from(encodeBody(event))).toEqual(Buffer.from(body));
});

test("fields that this program does not know stay in the wire bytes and in the decoded event", () => {
  const known = record();
  // Field 1000, a string, as a newer program might write it.
  const body = Buffer.concat([known.body, Buffer.from([0xc2, 0x3e, 0x02, 0x68, 0x69])]);
  const { event, wire } = new EventRecord({
    body,
    subject: known.subject,
    position: 1n,
    prevHash: genesisHash,
    hash: chainHash(genesisHash, body),
  });
  expect(event.$unknown).toHaveLength(1);
  expect(
    equals(EventSchema, fromBinary(EventSchema, toBinary(EventSchema, event)), fromBinary(EventSchema, wire)),
  ).toBe(true);
});

test("any flipped bit of body or previous hash changes the hash", () => {
  const body = randomBytes(40);
  const prevHash = randomBytes(32);
  const hash = Buffer.from(chainHash(prevHash, body));
  fc.assert(
    fc.property(fc.nat(40 + 32 - 1), fc.nat(7), (index, bit) => {
      const all = Buffer.concat([prevHash, body]);
      all[index]! ^= 1 << bit;
      expect(Buffer.from(chainHash(all.subarray(0, 32), all.subarray(32)))).not.toEqual(hash);
    }),
  );
});

test("an empty event is encoded as nothing", () => {
  expect(encodeBody(create(EventSchema, { position: 3n, hash: genesisHash }))).toHaveLength(0);
});
