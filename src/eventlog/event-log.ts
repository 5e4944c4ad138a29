import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";
import type { LogBounds, LogStore, Publication } from "./log-store.ts";
import { EventRecord, type StoredMessage } from "./record.ts";
import { createStateCache } from "./state-cache.ts";
import type { Subjects } from "./subjects.ts";

/** How often a publication is tried before the caller is told that the store is not available. */
const publishAttempts = 3;
/** How long a failed append counts as trouble: a server without traffic must not stay out of it for ever. */
const troubleMs = 15_000;
/** How much of what was appended is kept for when the tail brings it, in bytes. */
const appendedBytes = 4 * 1024 * 1024;
/** How many messages one read asks for. */
const batchSize = 500;

/** The log of events: append with an expectation, read in order, follow the end. */
export interface EventLog {
  readonly subjects: Subjects;
  /**
   * Stores one event, exactly once. Returns its record, or undefined when somebody else was first (read the tail and
   * decide again). Unknown outcomes are looked up, never guessed. STORE_UNAVAILABLE when the store can not be asked;
   * then the event may or may not be stored.
   */
  append(publication: Publication): Promise<EventRecord | undefined>;
  /** The newest record of a filter as the leader knows it. */
  last(filter: string): Promise<EventRecord | undefined>;
  /** The first record of a filter after a position as the leader knows it. */
  next(filter: string, after: bigint): Promise<EventRecord | undefined>;
  /** Every record of a filter with `after < position <= upTo`, in order, none missing. */
  read(filter: string, after: bigint, upTo: bigint, signal?: AbortSignal): AsyncGenerator<EventRecord, void, void>;
  /** Why the last append failed; undefined when one has succeeded since, or when that is a while ago: then it is worth a try. */
  trouble(): string | undefined;
  /** Where the log begins and ends. */
  bounds(): Promise<LogBounds>;
  /** Every record after a position, in order, without gap, for ever; ends when the signal aborts. */
  tail(after: bigint, signal: AbortSignal): AsyncIterable<EventRecord>;
}

/** The event log on a store. */
export function createEventLog(store: LogStore, subjects: Subjects): EventLog {
  const appended = createStateCache<{ readonly record: EventRecord; readonly sizeBytes: number }>(appendedBytes);
  let trouble: { readonly atMs: number; readonly message: string } | undefined;
  return {
    subjects,
    bounds: () => store.bounds(),
    last: async (filter) => toRecord(await store.last(filter)),
    next: async (filter, after) => toRecord(await store.next(filter, after)),
    read: (filter, after, upTo, signal) => read(store, filter, after, upTo, signal),
    trouble: () => (trouble && performance.now() - trouble.atMs < troubleMs ? trouble.message : undefined),
    async append(publication) {
      try {
        const record = await append(store, publication);
        trouble = undefined;
        if (record !== undefined) {
          appended.set(String(record.position), { record, sizeBytes: record.body.length });
        }
        return record;
      } catch (error) {
        trouble = { atMs: performance.now(), message: error instanceof Error ? error.message : String(error) };
        throw error;
      }
    },
    async *tail(after, signal) {
      for await (const stored of store.tail(after, signal)) {
        // What this process has appended itself is decoded already.
        const own = appended.get(String(stored.position))?.record;
        yield own !== undefined && equalBytes(own.hash, stored.hash) ? own : new EventRecord(stored);
      }
    },
  };
}

/**
 * Stored: done. Conflict or no answer: read what follows the expected position from the leader. Our own event there:
 * done. Another's: undefined. Nothing: publish the same event again; the expectation lets only one copy in.
 */
async function append(store: LogStore, publication: Publication): Promise<EventRecord | undefined> {
  let cause: unknown;
  for (let attempt = 1; attempt <= publishAttempts; attempt++) {
    const outcome = await store.publish(publication);
    if (outcome.status === "stored") {
      return new EventRecord({ ...publication, position: outcome.position });
    }
    if (outcome.status === "unknown") cause = outcome.cause;
    const following = await findFollowing(store, publication);
    if (following === "other") return undefined;
    if (following !== undefined) return new EventRecord(following);
    // Nothing there: a message of somebody else may still be on its way between replicas.
    await sleep(25 * attempt);
  }
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    "the event log did not answer; whether the change was recorded is not known, repeat the call with the same request_id",
    {},
    cause,
  );
}

/**
 * What follows on the expected position: our own message, "other" for somebody else's, undefined for nothing. The
 * expectation lets ours in at this one place only, so there is no need to look further.
 */
async function findFollowing(
  store: LogStore,
  { filter, expectPosition, hash }: Publication,
): Promise<StoredMessage | "other" | undefined> {
  const stored = await store.next(filter, expectPosition);
  // The hash covers the event id and everything else that was written.
  return stored === undefined || equalBytes(stored.hash, hash) ? stored : "other";
}

/**
 * Batches may come from a replica that lags and end early. So the end of a batch is believed only when the leader, too,
 * knows of nothing more up to `upTo`.
 */
async function* read(
  store: LogStore,
  filter: string,
  after: bigint,
  upTo: bigint,
  signal?: AbortSignal,
): AsyncGenerator<EventRecord, void, void> {
  let cursor = after;
  while (cursor < upTo && !signal?.aborted) {
    let messages = await store.batch(filter, cursor, batchSize);
    if (messages.length < batchSize && (messages.at(-1)?.position ?? cursor) < upTo) {
      const following = await store.next(filter, messages.at(-1)?.position ?? cursor);
      if (following !== undefined) messages = [...messages, following];
      else if (messages.length === 0) return;
    }
    for (const stored of messages) {
      if (stored.position > upTo || signal?.aborted) return;
      yield new EventRecord(stored);
      cursor = stored.position;
    }
  }
}

function toRecord(stored: StoredMessage | undefined): EventRecord | undefined {
  return stored && new EventRecord(stored);
}
