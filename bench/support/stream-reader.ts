import type { ClientHttp2Session } from "node:http2";
import { toBinary } from "@bufbuild/protobuf";
import {
  EventService,
  type SubscribeRequest,
  SubscribeRequestSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";

const path = `/${EventService.typeName}/${EventService.method.subscribe.name}`;
const prefixBytes = 5;
const endOfStreamFlag = 0b10;
/** How the frames begin: the tags of SubscribeResponse's `ready` and `event`. */
const readyTag = (1 << 3) | 2;
const eventTag = (2 << 3) | 2;

/** Told what comes in on a subscription. */
export interface Reader {
  ready(): void;
  event(): void;
  /** The stream is over: nothing will come any more. */
  ended(error: Error): void;
}

/**
 * Subscribes over the Connect protocol and counts what comes, without decoding it: the reader must cost less than the
 * server, or the comparison would be one of readers.
 */
export function readStream(session: ClientHttp2Session, request: SubscribeRequest, reader: Reader): void {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/connect+proto",
    "connect-protocol-version": "1",
  });
  stream.on("data", createFrameParser(reader));
  stream.on("error", (error) => reader.ended(error));
  stream.once("close", () => reader.ended(new Error("the subscription was closed")));
  const message = toBinary(SubscribeRequestSchema, request);
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([prefix, message]));
}

/** Splits the body into messages: 1 byte flags, 4 bytes length, then the message. */
function createFrameParser(reader: Reader): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let offset = 0;
    while (bytes.length - offset >= prefixBytes) {
      const end = offset + prefixBytes + bytes.readUInt32BE(offset + 1);
      if (bytes.length < end) break;
      const tag = bytes[offset + prefixBytes];
      if (((bytes[offset] ?? 0) & endOfStreamFlag) !== 0) {
        reader.ended(
          new Error(`the server ended the subscription: ${bytes.toString("utf8", offset + prefixBytes, end)}`),
        );
      } else if (tag === eventTag) reader.event();
      else if (tag === readyTag) reader.ready();
      offset = end;
    }
    rest = bytes.subarray(offset);
  };
}
