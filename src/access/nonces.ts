import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { nanos } from "@nats-io/transport-node";
import type { Nats } from "../eventlog/nats.ts";
import { ensureStream, type StreamSettings } from "../eventlog/streams.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** Which challenges were answered, the same on every server, for as long as they could be answered again. */
export interface Nonces {
  /** True for the first who spends this nonce, false for everybody after. STORE_UNAVAILABLE: it may be spent then. */
  spend(nonce: string): Promise<boolean>;
}

/** How long a spent nonce is remembered: longer than any server takes its challenge for good. */
export const nonceTtlMs = 15 * 60_000;

/** Where the bucket is. */
export interface NoncesOptions {
  readonly nats: Pick<Nats, "js" | "jsm">;
  /** The bucket's name, default NONCES; its stream is called `KV_` and this. */
  readonly bucket: string;
  /** Copies in the cluster, as many as the log has. */
  readonly replicas: number;
}

/** "wrong last sequence" with and without the number, nats-server's errors.json. */
const wrongLastSequence = new Set([10071, 10164]);

/** Opens the bucket; creates it or checks it. */
export async function openNonces({ nats, bucket, replicas }: NoncesOptions): Promise<Nonces> {
  await ensureStream(nats.jsm, bucketStream(bucket, replicas));
  const kv = await new Kvm(nats.js).open(bucket, { allow_direct: false });
  return {
    async spend(nonce) {
      try {
        await kv.create(nonce, "");
        return true;
      } catch (error) {
        if (error instanceof JetStreamApiError && wrongLastSequence.has(error.code)) return false;
        const message = "the answer could not be checked against earlier ones; ask for another challenge";
        throw new SignalboxError("STORE_UNAVAILABLE", message, {}, error);
      }
    },
  };
}

/** Nonces of one process. */
export function createMemoryNonces({ clock }: { readonly clock: Clock }): Nonces {
  // A Map iterates in order of insertion: the first entry is the oldest.
  const spent = new Map<string, number>();
  return {
    async spend(nonce) {
      const nowMs = clock.now().getTime();
      for (const [old, atMs] of spent) {
        if (nowMs - atMs < nonceTtlMs) break;
        spent.delete(old);
      }
      if (spent.has(nonce)) return false;
      spent.set(nonce, nowMs);
      return true;
    },
  };
}

/** On disk, so that a broker that restarts takes no answer twice. */
function bucketStream(bucket: string, replicas: number): StreamSettings {
  return {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_age: nanos(nonceTtlMs),
    max_msgs_per_subject: 1,
    allow_rollup_hdrs: true,
    num_replicas: replicas,
  };
}
