import { createHash } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { DiscardPolicy, JetStreamError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type Worker, WorkerSchema } from "../../gen/signalbox/v1/worker_pb.ts";
import { type Nats, onReconnect } from "../eventlog/nats.ts";
import { ensureStream, isStreamGone, type StreamSettings } from "../eventlog/streams.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";

/** Workers as they last reported themselves, the same in every process of the installation. */
export interface Registry extends AsyncDisposable {
  /** Tells every process. Its last_seen_time is when it reported. STORE_UNAVAILABLE. */
  put(workspaceId: string, worker: Worker): Promise<void>;
  /** The workers of a workspace by worker_id, those left out that are forgotten; answered from memory. */
  of(workspaceId: string): ReadonlyMap<string, Worker>;
}

/** Settings of the registry. */
export interface RegistryOptions {
  readonly nats: Nats;
  /** The stream's name, default WORKERS. */
  readonly stream: string;
  /** The first token of its subjects, default `sb`. */
  readonly prefix: string;
  readonly replicas: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How long a worker that does not report is known. */
const forgottenMs = 10 * 60_000;

const sweepMs = 60_000;
const batchSize = 1_000;
/** The pause after the stream could not be read. */
const mendMs = 1_000;
const directNotFound = 404;

/**
 * Opens the registry: creates the stream or checks it, and reads what it has. Reports come by a plain subscription, because
 * the next one makes up for one that was missed; the stream is for those who were not there.
 */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { nats, stream, prefix, replicas, clock, log } = options;
  const allSubjects = `${prefix}.worker.>`;
  const workspaces = new Map<string, Map<string, Worker>>();
  const closing = new AbortController();
  const ensure = () => ensureStream(nats.jsm, workersStream(stream, allSubjects, replicas));

  function remember(workspaceId: string, worker: Worker): void {
    const workers = workspaces.get(workspaceId) ?? new Map<string, Worker>();
    workspaces.set(workspaceId, workers);
    const before = workers.get(worker.workerId);
    if (before === undefined || lastSeenMs(before) <= lastSeenMs(worker)) workers.set(worker.workerId, worker);
  }

  function hear(subject: string, body: Uint8Array): void {
    try {
      remember(subject.split(".").at(-2) ?? "", fromBinary(WorkerSchema, body));
    } catch (error) {
      log.warn({ err: error, subject }, "report of a worker can not be read");
    }
  }

  /** The workers of a workspace, after some have been forgotten. */
  function known(workspaceId: string): ReadonlyMap<string, Worker> {
    const workers = workspaces.get(workspaceId) ?? new Map<string, Worker>();
    const beforeMs = clock.now().getTime() - forgottenMs;
    for (const [workerId, worker] of workers) if (lastSeenMs(worker) <= beforeMs) workers.delete(workerId);
    if (workers.size === 0) workspaces.delete(workspaceId);
    return workers;
  }

  /** Reads what others have reported; after a reconnect some of it was missed, or the stream is gone. */
  async function catchUp(): Promise<void> {
    await ensure();
    for (let after = 0; ;) {
      const found = await readBatch(nats, stream, allSubjects, after, hear);
      if (found === undefined) return;
      after = found;
    }
  }

  async function mend(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        return await catchUp();
      } catch (error) {
        log.warn({ err: error }, "workers can not be read, trying again");
      }
      await sleep(mendMs, closing.signal);
    }
  }

  const subscription = nats.connection.subscribe(allSubjects, {
    callback: (error, message) => {
      if (error) log.warn({ err: error }, "worker reports");
      else hear(message.subject, message.data);
    },
  });
  const reconnects = onReconnect(nats, () => void mend());
  const sweep = setInterval(() => {
    for (const workspaceId of workspaces.keys()) known(workspaceId);
  }, sweepMs);
  function close(): void {
    closing.abort();
    clearInterval(sweep);
    reconnects[Symbol.dispose]();
    subscription.unsubscribe();
  }
  await catchUp().catch((error: unknown) => {
    close();
    throw error;
  });

  return {
    async put(workspaceId, worker) {
      const body = toBinary(WorkerSchema, worker);
      const publish = () => nats.js.publish(subjectOf(prefix, workspaceId, worker.workerId), body);
      try {
        await publish().catch(async (error: unknown) => {
          // In the broker's memory: whoever finds it gone makes it anew.
          if (!isStreamGone(error)) throw error;
          await ensure();
          await publish();
        });
      } catch (error) {
        throw new SignalboxError("STORE_UNAVAILABLE", "the report could not be stored; repeat it", {}, error);
      }
      remember(workspaceId, worker);
    },
    of: known,
    [Symbol.asyncDispose]: async () => close(),
  };
}

/** Tells `hear` the next messages, and returns the sequence of the last one; undefined when there are none. */
async function readBatch(
  { jsm }: Nats,
  stream: string,
  filter: string,
  after: number,
  hear: (subject: string, body: Uint8Array) => void,
): Promise<number | undefined> {
  let last: number | undefined;
  try {
    const messages = await jsm.direct.getBatch(stream, { seq: after + 1, next_by_subj: filter, batch: batchSize });
    for await (const { subject, data, seq } of messages) {
      hear(subject, data);
      last = seq;
    }
  } catch (error) {
    if (!(error instanceof JetStreamError && "code" in error && error.code === directNotFound)) throw error;
  }
  return last;
}

/** Memory storage: a worker reports again within seconds. */
function workersStream(name: string, allSubjects: string, replicas: number): StreamSettings {
  return {
    name,
    subjects: [allSubjects],
    storage: StorageType.Memory,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_msgs_per_subject: 1,
    max_age: nanos(forgottenMs),
    allow_direct: true,
    num_replicas: replicas,
  };
}

/** A worker_id is free text, which a subject is not. */
function subjectOf(prefix: string, workspaceId: string, workerId: string): string {
  const hash = createHash("sha256").update(workerId).digest("hex").slice(0, 32);
  return `${prefix}.worker.${workspaceId}.${hash}`;
}

function lastSeenMs({ lastSeenTime }: Worker): number {
  return lastSeenTime === undefined ? 0 : timestampMs(lastSeenTime);
}
