import { DeliverPolicy, JetStreamApiError, JetStreamError, type StoredMsg } from "@nats-io/jetstream";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";
import type { LogBounds, LogStore, Publication, PublishOutcome } from "./log-store.ts";
import { type Nats, onReconnect, requestTimeoutMs } from "./nats.ts";
import type { StoredMessage } from "./record.ts";
import { ensureStream, eventsStream } from "./streams.ts";

const prevHashHeader = "Signalbox-Prev-Hash";
const hashHeader = "Signalbox-Hash";

/** "wrong last sequence" with and without the number, nats-server's errors.json. */
const wrongLastSequence = new Set([10071, 10164]);
/** "no message found", nats-server's errors.json. */
const noMessageFound = 10037;
const directNotFound = 404;
/** JetStream is there but busy (re)starting: the publication may be repeated. */
const passing = new Set([10008, 10009, 10023]);
/** How much one batch may bring; a single larger message still comes. */
const batchBytes = 4 * 1024 * 1024;
/** How often the tail asks whether it has gone deaf. */
const watchdogMs = 5_000;

/** Settings of the log in JetStream. */
export interface JetStreamStoreOptions {
  readonly nats: Nats;
  /** The stream's name, default EVENTS. */
  readonly stream: string;
  /** The filter of everything in it. */
  readonly allSubjects: string;
  /** Copies in the cluster: 1, or 3 for durability `replicated`. */
  readonly replicas: number;
  readonly log: Logger;
}

/** The log in JetStream. Creates the stream, or checks it: STORE_UNAVAILABLE names every setting that differs. */
export async function openJetStreamStore(options: JetStreamStoreOptions): Promise<LogStore> {
  const { nats, stream, allSubjects, replicas } = options;
  await ensureStream(nats.jsm, eventsStream(stream, allSubjects, replicas));
  return {
    publish: (publication) => publish(nats, publication),
    last: (filter) => guarded(() => getMessage(nats, stream, { last_by_subj: filter })),
    next: (filter, after) => guarded(() => getMessage(nats, stream, { seq: Number(after) + 1, next_by_subj: filter })),
    batch: (filter, after, limit) => guarded(() => batch(nats, stream, filter, after, limit)),
    bounds: () => guarded(() => bounds(nats, stream)),
    tail: (after, signal) => tail(options, after, signal),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function publish({ js }: Nats, publication: Publication): Promise<PublishOutcome> {
  const { subject, body, eventId, expectPosition, filter } = publication;
  const fields = headers();
  fields.set(prevHashHeader, Buffer.from(publication.prevHash).toString("base64url"));
  fields.set(hashHeader, Buffer.from(publication.hash).toString("base64url"));
  try {
    const ack = await js.publish(subject, body, {
      msgID: eventId,
      headers: fields,
      expect: {
        lastSubjectSequence: Number(expectPosition),
        ...(filter === subject ? {} : { lastSubjectSequenceSubject: filter }),
      },
    });
    return { status: "stored", position: BigInt(ack.seq) };
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || passing.has(error.code)) return { status: "unknown", cause: error };
    if (wrongLastSequence.has(error.code)) return { status: "conflict" };
    throw unavailable(error);
  }
}

async function getMessage(
  { jsm }: Nats,
  stream: string,
  query: { last_by_subj: string } | { seq: number; next_by_subj: string },
): Promise<StoredMessage | undefined> {
  try {
    // Asks the stream's leader, not any replica.
    return toStored(await jsm.streams.getMessage(stream, query));
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === noMessageFound) return undefined;
    throw error;
  }
}

async function batch(
  { jsm }: Nats,
  stream: string,
  filter: string,
  after: bigint,
  limit: number,
): Promise<StoredMessage[]> {
  const found: StoredMessage[] = [];
  try {
    const messages = await jsm.direct.getBatch(stream, {
      seq: Number(after) + 1,
      next_by_subj: filter,
      batch: limit,
      max_bytes: batchBytes,
    });
    for await (const message of messages) {
      const stored = toStored(message);
      if (stored) found.push(stored);
    }
  } catch (error) {
    if (!(error instanceof JetStreamError && "code" in error && error.code === directNotFound)) throw error;
  }
  return found;
}

async function bounds({ jsm }: Nats, stream: string): Promise<LogBounds> {
  const { state } = await jsm.streams.info(stream);
  return { earliest: BigInt(Math.max(1, state.first_seq)), head: BigInt(state.last_seq) };
}

/**
 * An ordered consumer, supervised: whatever it does (end, throw, skip, fall silent after a server restart), a new one
 * goes on behind the last position that was handed out.
 */
async function* tail(
  options: JetStreamStoreOptions,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<StoredMessage> {
  let cursor = after;
  while (!signal.aborted) {
    try {
      for await (const stored of consume(options, cursor, signal)) {
        if (stored.position !== cursor + 1n) {
          options.log.warn({ cursor: String(cursor), found: String(stored.position) }, "log tail has a gap");
          break;
        }
        yield stored;
        cursor = stored.position;
      }
    } catch (error) {
      if (signal.aborted) return;
      options.log.warn({ err: error, cursor: String(cursor) }, "log tail interrupted");
    }
    await sleep(100, signal);
  }
}

async function* consume(
  { nats, stream, log }: JetStreamStoreOptions,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<StoredMessage> {
  const consumer = await nats.js.consumers.get(stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: Number(after) + 1,
    inactive_threshold: 30_000,
  });
  const messages = await consumer.consume({ max_messages: 1_000, idle_heartbeat: 5_000 });
  let cursor = after;
  let seen = after;
  const close = () => void messages.close();
  // The consumer is in the broker's memory: a restart takes it along, and the client library does not always notice.
  using _reconnects = onReconnect(nats, close);
  // A consumer can be silent because nothing happens or because it is dead: the stream's head tells which.
  async function watch(): Promise<void> {
    const head = await bounds(nats, stream).then(
      (found) => found.head,
      () => cursor,
    );
    if (head > cursor && cursor === seen) {
      log.warn({ cursor: String(cursor), head: String(head) }, "log tail is deaf, opening a new one");
      close();
    }
    seen = cursor;
  }
  const watchdog = setInterval(() => void watch(), watchdogMs);
  signal.addEventListener("abort", close, { once: true });
  // It may have been stopped while the consumer was being made.
  if (signal.aborted) close();
  try {
    for await (const message of messages) {
      cursor = BigInt(message.seq);
      yield {
        position: cursor,
        subject: message.subject,
        body: message.data,
        ...readHashes(message.headers),
      };
    }
  } finally {
    clearInterval(watchdog);
    signal.removeEventListener("abort", close);
    close();
  }
}

function toStored(message: StoredMsg | null): StoredMessage | undefined {
  if (message === null) return undefined;
  return {
    position: BigInt(message.seq),
    subject: message.subject,
    body: message.data,
    ...readHashes(message.header),
  };
}

function readHashes(fields: MsgHdrs | undefined): { prevHash: Uint8Array; hash: Uint8Array } {
  return {
    prevHash: Buffer.from(fields?.get(prevHashHeader) ?? "", "base64url"),
    hash: Buffer.from(fields?.get(hashHeader) ?? "", "base64url"),
  };
}

/** Whatever the broker or the client library throws at a read is one thing to a caller: the store can not be asked. */
async function guarded<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw unavailable(error);
  }
}

function unavailable(cause: unknown): SignalboxError {
  if (cause instanceof JetStreamApiError) {
    // The broker's own words can name its files: they are for the log, where the cause goes.
    const message = `the event log refused it (JetStream error ${cause.code}), repeat with backoff; the server's log says why`;
    return new SignalboxError("STORE_UNAVAILABLE", message, {}, cause);
  }
  return new SignalboxError(
    "STORE_UNAVAILABLE",
    `the event log did not answer within ${requestTimeoutMs} ms, repeat with backoff`,
    {},
    cause,
  );
}
