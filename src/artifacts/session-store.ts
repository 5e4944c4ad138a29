import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { nanos } from "@nats-io/transport-node";
import type { Nats } from "../eventlog/nats.ts";
import { ensureStream, type StreamSettings } from "../eventlog/streams.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** How long an upload in chunks may take: nothing of it is remembered for longer. */
export const sessionTtlMs = 24 * 60 * 60_000;

/** A value and the revision to replace it by. */
export interface SessionEntry {
  readonly value: Uint8Array;
  /** Grows with every write. */
  readonly revision: number;
}

/**
 * Where uploads under way are remembered, the same on every server: values by key (letters, digits, `_`, `-`, with dots
 * between), forgotten `sessionTtlMs` after they were written. Trouble comes out as STORE_UNAVAILABLE; a write may have
 * happened then.
 */
export interface SessionStore {
  /** Writes a value unless there is one; false when there is. */
  create(key: string, value: Uint8Array): Promise<boolean>;
  /** Writes a value in place of that revision; false when it is not the newest any more. */
  replace(key: string, value: Uint8Array, revision: number): Promise<boolean>;
  /** The newest value, as every server sees it. */
  get(key: string): Promise<SessionEntry | undefined>;
  /** The keys with these words before them that have a value. What is written or removed meanwhile may be among them or not. */
  keys(prefix: string): Promise<readonly string[]>;
  /** Forgets a value, only in that revision when one is given; one that is not there, or newer, is fine. */
  remove(key: string, revision?: number): Promise<void>;
}

/** Where the bucket is. */
export interface SessionStoreOptions {
  readonly nats: Pick<Nats, "js" | "jsm">;
  /** The bucket's name, default UPLOADS; its stream is called `KV_` and this. */
  readonly bucket: string;
  /** Copies in the cluster, as many as the log has. */
  readonly replicas: number;
}

/** "wrong last sequence" with and without the number, nats-server's errors.json. */
const wrongLastSequence = new Set([10071, 10164]);

/** Opens the bucket; creates it or checks it. */
export async function openSessionStore({ nats, bucket, replicas }: SessionStoreOptions): Promise<SessionStore> {
  await ensureStream(nats.jsm, bucketStream(bucket, replicas));
  // A direct get may be answered by a replica that does not know of the newest chunk yet.
  const kv = await new Kvm(nats.js).open(bucket, { allow_direct: false });
  return {
    create: (key, value) => written(kv.create(key, value)),
    replace: (key, value, revision) => written(kv.update(key, value, revision)),
    get: (key) => guarded(get(kv, key)),
    keys: (prefix) => guarded(kv.keys(`${prefix}.>`).then((keys) => Array.fromAsync(keys))),
    remove: async (key, revision) => {
      await written(kv.purge(key, revision === undefined ? {} : { previousSeq: revision }));
    },
  };
}

function bucketStream(bucket: string, replicas: number): StreamSettings {
  return {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_age: nanos(sessionTtlMs),
    max_msgs_per_subject: 1,
    allow_rollup_hdrs: true,
    num_replicas: replicas,
  };
}

async function get(kv: KV, key: string): Promise<SessionEntry | undefined> {
  const entry = await kv.get(key);
  return entry?.operation === "PUT" ? { value: entry.value, revision: entry.revision } : undefined;
}

async function written(write: Promise<unknown>): Promise<boolean> {
  return guarded(
    write.then(
      () => true,
      (error: unknown) => {
        if (error instanceof JetStreamApiError && wrongLastSequence.has(error.code)) return false;
        throw error;
      },
    ),
  );
}

async function guarded<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    const message = "the store of uploads under way did not answer; try again";
    throw new SignalboxError("STORE_UNAVAILABLE", message, {}, error);
  }
}
