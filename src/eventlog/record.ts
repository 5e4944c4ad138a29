import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { sha256 } from "../kernel/digest.ts";

/** The previous hash of an aggregate's first event: 32 zero bytes. */
export const genesisHash: Uint8Array = new Uint8Array(32);

/** A message as the log stores it. */
export interface StoredMessage {
  readonly position: bigint;
  readonly subject: string;
  /** The stored bytes: an Event without position, prev_hash and hash. */
  readonly body: Uint8Array;
  readonly prevHash: Uint8Array;
  /** The hash as written beside the body. Readers trust it; `verify` computes it again. */
  readonly hash: Uint8Array;
}

/** One event of the log. Decoded when first asked for, encoded for the wire once for all who want it. */
export class EventRecord implements StoredMessage {
  readonly position: bigint;
  readonly subject: string;
  readonly body: Uint8Array;
  readonly prevHash: Uint8Array;
  readonly hash: Uint8Array;
  #event: Event | undefined;
  #wire: Uint8Array | undefined;

  constructor(stored: StoredMessage) {
    this.position = stored.position;
    this.subject = stored.subject;
    this.body = stored.body;
    this.prevHash = stored.prevHash;
    this.hash = stored.hash;
  }

  /** The event with position and hashes filled in. */
  get event(): Event {
    if (this.#event === undefined) {
      const event = fromBinary(EventSchema, this.body);
      event.position = this.position;
      event.prevHash = this.prevHash;
      event.hash = this.hash;
      this.#event = event;
    }
    return this.#event;
  }

  /** The binary form of `event`, made of the stored bytes as they are: fields may come in any order on the wire. */
  get wire(): Uint8Array {
    this.#wire ??= eventWire(this);
    return this.#wire;
  }
}

/** The binary form of the complete event: the stored bytes, then position, prev_hash and hash. */
function eventWire(stored: Omit<StoredMessage, "subject">): Uint8Array {
  const { position, prevHash, hash } = stored;
  return Buffer.concat([stored.body, toBinary(EventSchema, create(EventSchema, { position, prevHash, hash }))]);
}

/** The bytes to store for an event: the event without what only the log can know. */
export function encodeBody(event: Event): Uint8Array {
  return toBinary(EventSchema, { ...event, position: 0n, prevHash: new Uint8Array(0), hash: new Uint8Array(0) });
}

/** The hash that chains a body to the aggregate's previous event. */
export function chainHash(prevHash: Uint8Array, body: Uint8Array): Uint8Array {
  return sha256(prevHash, body);
}
