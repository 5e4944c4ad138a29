import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { type Nats, requestTimeoutMs } from "../eventlog/nats.ts";
import { ensureStream } from "../eventlog/streams.ts";
import { token } from "../eventlog/subjects.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { KeyEntry, KeyStore } from "./key-store.ts";

/** "wrong last sequence" with and without the number, "no message found", nats-server's errors.json. */
const wrongLastSequence = new Set([10071, 10164]);
const noMessageFound = 10037;
/** Deleting what somebody else has just deleted: "message delete failed", "sequence not found". */
const alreadyDeleted = new Set([10057, 10043]);

/** Where the keys are. */
export interface JetStreamKeyStoreOptions {
  readonly nats: Nats;
  /** The stream's name, default KEYS. */
  readonly stream: string;
  /** The first token of every subject. */
  readonly prefix: string;
  /** Copies in the cluster, as of the log. */
  readonly replicas: number;
}

type Query = { last_by_subj: string } | { seq: number; next_by_subj: string };

/**
 * The store of keys in JetStream: a stream with a subject for each record. It is not a KV bucket, because that forgets earlier versions
 * without overwriting them. Creates the stream, or checks it: STORE_UNAVAILABLE names every setting that differs.
 */
export async function openJetStreamKeyStore(options: JetStreamKeyStoreOptions): Promise<KeyStore> {
  const { nats, stream, prefix, replicas } = options;
  const root = `${prefix}.keys`;
  await ensureStream(nats.jsm, {
    name: stream,
    subjects: [`${root}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: 0,
    max_msgs: -1,
    max_bytes: -1,
    // An earlier version has to be there to be overwritten: one more than a single write needs for every crash in a row.
    max_msgs_per_subject: 16,
    deny_delete: false,
    deny_purge: true,
    num_replicas: replicas,
  });
  const subjectOf = (name: string) => `${root}.${name.split(".").map(token).join(".")}`;

  /** Asks the stream's leader, not any replica. */
  function read(query: Query): Promise<KeyEntry | undefined> {
    return guarded(async () => {
      const message = await nats.jsm.streams.getMessage(stream, query).catch((error: unknown) => {
        if (error instanceof JetStreamApiError && error.code === noMessageFound) return null;
        throw error;
      });
      if (message === null) return undefined;
      return { name: message.subject.slice(root.length + 1), value: message.data, revision: message.seq };
    });
  }

  function write(name: string, value: Uint8Array, revision: number): Promise<KeyEntry | undefined> {
    return guarded(async () => {
      try {
        const ack = await nats.js.publish(subjectOf(name), value, { expect: { lastSubjectSequence: revision } });
        return { name, value, revision: ack.seq };
      } catch (error) {
        if (error instanceof JetStreamApiError && wrongLastSequence.has(error.code)) return undefined;
        throw error;
      }
    });
  }

  /** Overwrites the versions of a record before one, also what a crash has left behind. */
  async function erase(name: string, before: number): Promise<void> {
    for (;;) {
      const oldest = await read({ seq: 1, next_by_subj: subjectOf(name) });
      if (oldest === undefined || oldest.revision >= before) return;
      await guarded(async () => {
        await nats.jsm.streams.deleteMessage(stream, oldest.revision, true).catch((error: unknown) => {
          if (!(error instanceof JetStreamApiError && alreadyDeleted.has(error.code))) throw error;
        });
      });
    }
  }

  return {
    get: (name) => read({ last_by_subj: subjectOf(name) }),
    create: (name, value) => write(name, value, 0),
    async update(name, value, revision) {
      const entry = await write(name, value, revision);
      if (entry !== undefined) await erase(name, entry.revision);
      return entry;
    },
    remove: (name, revision = Number.POSITIVE_INFINITY) => erase(name, revision + 1),
    async *entries(prefixTokens, signal) {
      const filter = `${subjectOf(prefixTokens)}.>`;
      for (let after = 0; ;) {
        signal?.throwIfAborted();
        const entry = await read({ seq: after + 1, next_by_subj: filter });
        if (entry === undefined) return;
        yield entry;
        after = entry.revision;
      }
    },
  };
}

async function guarded<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const why =
      error instanceof JetStreamApiError
        ? `the store of keys refused it (JetStream error ${error.code}), repeat with backoff; the server's log says why`
        : `the store of keys did not answer within ${requestTimeoutMs} ms, repeat with backoff`;
    throw new SignalboxError("STORE_UNAVAILABLE", why, {}, error);
  }
}
