import type { StoredMessage } from "./record.ts";

/** A message to store, with what must be true for it to be stored. */
export interface Publication {
  readonly subject: string;
  /** A UUID; the store may use it to drop repeats, nobody relies on that. */
  readonly eventId: string;
  readonly body: Uint8Array;
  readonly prevHash: Uint8Array;
  readonly hash: Uint8Array;
  /** The newest position that `filter` must have; 0 for none. The guarantee against forks. */
  readonly expectPosition: bigint;
  /** The subject itself, or the any-room filter when an aggregate is created. */
  readonly filter: string;
}

/** What is known after one try to store a message. */
export type PublishOutcome =
  | { readonly status: "stored"; readonly position: bigint }
  /** The expectation did not hold, as far as the store says; a repeat of our own message can look like this too. */
  | { readonly status: "conflict" }
  /** No answer: it may be stored, now or a little later. */
  | { readonly status: "unknown"; readonly cause: unknown };

/** The first and the newest position of the log; head is 0 while it is empty. */
export interface LogBounds {
  readonly earliest: bigint;
  readonly head: bigint;
}

/** The raw log: JetStream, or memory with JetStream's habits. Everything above it is shared. */
export interface LogStore extends AsyncDisposable {
  /** One try. Throws STORE_UNAVAILABLE when the store refuses for good (full, misconfigured). */
  publish(publication: Publication): Promise<PublishOutcome>;
  /** The newest message of a filter as the leader knows it. */
  last(filter: string): Promise<StoredMessage | undefined>;
  /** The first message of a filter after a position as the leader knows it. */
  next(filter: string, after: bigint): Promise<StoredMessage | undefined>;
  /** Up to `limit` messages of a filter after a position, in order. A replica may answer that lags: it can end early. */
  batch(filter: string, after: bigint, limit: number): Promise<StoredMessage[]>;
  /** Where the log begins and ends. */
  bounds(): Promise<LogBounds>;
  /** Every message after a position, in order, without gap, for ever; ends when the signal aborts. */
  tail(after: bigint, signal: AbortSignal): AsyncIterable<StoredMessage>;
}
