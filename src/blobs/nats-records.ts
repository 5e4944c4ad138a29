import {
  DiscardPolicy,
  JetStreamApiError,
  JetStreamError,
  RetentionPolicy,
  StorageType,
  type StoredMsg,
} from "@nats-io/jetstream";
import { type Nats, requestTimeoutMs } from "../eventlog/nats.ts";
import { ensureStream, type StreamSettings } from "../eventlog/streams.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** How often a record is sent while the stream has no leader; the client library pauses 250 ms between. */
const sendings = 12;
const listedAtOnce = 256;
/** "no message found", nats-server's errors.json, and the status of a direct get. */
const noMessageFound = 10037;
const directNotFound = 404;
/** Insufficient resources, storage exceeded, and the limits of an account and of a stream, ibid. */
const full = new Set([10002, 10023, 10028, 10047, 10054, 10077, 10122]);

/** Records in a stream, one a subject. Everything that goes wrong is STORE_UNAVAILABLE. */
export interface NatsRecords {
  /** Stores a record in the place of the one before it, and returns its number in the stream. */
  send(subject: string, payload: string | Uint8Array, expect?: Expectation): Promise<number>;
  /** The record of a subject. */
  get(subject: string): Promise<StoredMsg | undefined>;
  /** The records of a filter in order, a few at once. */
  list(filter: string): AsyncGenerator<StoredMsg, void, void>;
  /** Removes the records of a filter. */
  purge(filter: string): Promise<void>;
  /** Removes one record by its number; one that is not there is refused. */
  remove(sequence: number): Promise<void>;
}

/** The record that must stand for another to be taken. */
export interface Expectation {
  readonly lastSubjectSequence: number;
  readonly lastSubjectSequenceSubject: string;
}

/** Creates the stream, or checks it. */
export async function openNatsRecords(
  nats: Nats,
  settings: { readonly stream: string; readonly all: string; readonly replicas: number },
): Promise<NatsRecords> {
  const { stream, all, replicas } = settings;
  const { js, jsm } = nats;
  await guarded(() => ensureStream(jsm, recordsStream(stream, all, replicas)));
  return {
    async send(subject, payload, expect) {
      const options = { retries: sendings, ...(expect === undefined ? {} : { expect }) };
      const { seq } = await guarded(() => js.publish(subject, payload, options));
      return seq;
    },
    get: (subject) => guarded(() => get(nats, stream, subject)),
    list: (filter) => list(nats, stream, filter),
    async purge(filter) {
      await guarded(() => jsm.streams.purge(stream, { filter }));
    },
    async remove(sequence) {
      await guarded(() => jsm.streams.deleteMessage(stream, sequence, false));
    },
  };
}

/** One record a subject: what is sent twice, because an answer was lost, is there once. How much it may hold is the operator's to say. */
function recordsStream(name: string, all: string, replicas: number): StreamSettings {
  return {
    name,
    subjects: [all],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_age: 0,
    max_msgs: -1,
    max_msgs_per_subject: 1,
    allow_direct: true,
    num_replicas: replicas,
  };
}

/** A copy that lags behind may not have the record yet, so only the leader's word for its absence counts. */
async function get({ jsm }: Nats, stream: string, subject: string): Promise<StoredMsg | undefined> {
  const query = { last_by_subj: subject };
  const near = await jsm.direct.getMessage(stream, query);
  if (near !== null) return near;
  try {
    return (await jsm.streams.getMessage(stream, query)) ?? undefined;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === noMessageFound) return undefined;
    throw error;
  }
}

async function* list({ jsm }: Nats, stream: string, filter: string): AsyncGenerator<StoredMsg, void, void> {
  const next = (after: number) =>
    jsm.direct.getBatch(stream, { seq: after + 1, next_by_subj: filter, batch: listedAtOnce });
  for (let cursor = 0, found = listedAtOnce; found === listedAtOnce;) {
    found = 0;
    try {
      for await (const record of await next(cursor)) {
        cursor = record.seq;
        found++;
        yield record;
      }
    } catch (error) {
      if (error instanceof JetStreamError && "code" in error && error.code === directNotFound) return;
      throw unavailable(error);
    }
  }
}

async function guarded<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw unavailable(error);
  }
}

function unavailable(cause: unknown): SignalboxError {
  if (cause instanceof SignalboxError) return cause;
  return new SignalboxError("STORE_UNAVAILABLE", messageOf(cause), {}, cause);
}

/** The broker's own words can name its files: they are for the log, where the cause goes. */
function messageOf(cause: unknown): string {
  if (!(cause instanceof JetStreamApiError)) {
    return `the artifact store (NATS) did not answer within ${requestTimeoutMs} ms, repeat with backoff`;
  }
  if (full.has(cause.code)) {
    return "the artifact store (NATS) is full; give JetStream more room, or remove artifacts";
  }
  return `the artifact store (NATS) refused it (JetStream error ${cause.code}), repeat with backoff; the server's log says why`;
}
