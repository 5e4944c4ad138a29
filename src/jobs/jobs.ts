import { AckPolicy, DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos, RequestError } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type Nats, onReconnect } from "../eventlog/nats.ts";
import { ensureStream, type StreamSettings } from "../eventlog/streams.ts";
import { createDispatcher, type Dispatcher, type Delivery } from "./dispatcher.ts";
import { encodeJob, type Job, type JobRoute } from "./job.ts";

/** "wrong last sequence": a job for this run is there already. */
const jobExists = new Set([10071, 10164]);
/** "stream not found". */
const streamNotFound = 10059;
/** A positive number lifts the server's default of 1,000 consumers a stream. */
const maxConsumers = 100_000;

/** The queue of jobs, and who waits for them in this process. */
export interface Jobs extends AsyncDisposable {
  /** Makes a job unless there is one for the run already; true when it did. */
  publish(job: Job): Promise<boolean>;
  /** How many jobs there are, waiting or leased. */
  count(): Promise<number>;
  /** The run ids that have a job, waiting or leased. */
  runIds(): Promise<Set<string>>;
  /** The next job for any of the routes; undefined when `maxWaitMs` passed or the signal aborted. */
  next(routes: readonly JobRoute[], maxWaitMs: number, signal: AbortSignal): Promise<Delivery | undefined>;
  /** Keeps a leased job from being delivered again for another ack wait. */
  extend(ackSubject: string): void;
  /** Makes a leased job available again after a pause. */
  release(ackSubject: string, delayMs: number): void;
  /** Removes a job whose run has ended. */
  finish(ackSubject: string): void;
}

/** Settings of the queue. */
export interface JobsOptions {
  readonly nats: Nats;
  /** The stream's name, default JOBS. */
  readonly stream: string;
  /** The first token of its subjects, default `sb`. */
  readonly prefix: string;
  readonly replicas: number;
  /** The ack wait: how long a lease holds without a heartbeat. Different values on servers of one installation do not mix. */
  readonly leaseTtlMs: number;
  readonly log: Logger;
}

/** Opens the queue; creates the stream or checks it. */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { nats, stream, prefix, replicas, leaseTtlMs } = options;
  const dispatchers = new Map<string, Promise<Dispatcher>>();
  const ensureQueue = () => ensureStream(nats.jsm, jobsStream(stream, `${prefix}.job.>`, replicas));
  await ensureQueue();
  const watching = onReconnect(nats, () => {
    for (const open of dispatchers.values())
      open.then(
        (dispatcher) => dispatcher.reset(),
        () => undefined,
      );
  });

  /** The queue is in the broker's memory: whoever finds it gone makes it anew, and the reconciler fills it. */
  async function onQueue<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    await ensureQueue();
    return ask();
  }

  async function openDispatcher(route: JobRoute): Promise<Dispatcher> {
    // A separator that no part can contain.
    const durable = `${route.queue}~${route.workspaceId}~${route.handler}`;
    const reopen = () =>
      onQueue(() =>
        nats.jsm.consumers.add(stream, {
          durable_name: durable,
          filter_subject: `${routeSubject(prefix, route)}.*`,
          ack_policy: AckPolicy.Explicit,
          ack_wait: nanos(leaseTtlMs),
          max_deliver: -1,
          max_ack_pending: -1,
        }),
      );
    await reopen();
    return createDispatcher({ nats, stream, durable, reopen, log: options.log });
  }

  function dispatcherOf(route: JobRoute): Promise<Dispatcher> {
    const key = routeSubject(prefix, route);
    const open = dispatchers.get(key) ?? openDispatcher(route);
    dispatchers.set(key, open);
    // A failure is the caller's; the next call tries anew.
    open.catch(() => dispatchers.delete(key));
    return open;
  }

  function respond(ackSubject: string, body: string): void {
    if (!nats.connection.isClosed()) nats.connection.publish(ackSubject, body);
  }

  return {
    async publish(job) {
      try {
        const subject = `${routeSubject(prefix, job)}.${job.runId}`;
        await onQueue(() => nats.js.publish(subject, encodeJob(job), { expect: { lastSubjectSequence: 0 } }));
        return true;
      } catch (error) {
        if (error instanceof JetStreamApiError && jobExists.has(error.code)) return false;
        throw error;
      }
    },
    count: async () => (await onQueue(() => nats.jsm.streams.info(stream))).state.messages,
    async runIds() {
      const { state } = await onQueue(() => nats.jsm.streams.info(stream, { subjects_filter: `${prefix}.job.>` }));
      return new Set(Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-1) ?? ""));
    },
    async next(routes, maxWaitMs, signal) {
      return firstDelivery(await Promise.all(routes.map(dispatcherOf)), maxWaitMs, signal);
    },
    extend: (ackSubject) => respond(ackSubject, "+WPI"),
    release: (ackSubject, delayMs) => respond(ackSubject, `-NAK {"delay": ${nanos(Math.max(0, Math.ceil(delayMs)))}}`),
    finish: (ackSubject) => respond(ackSubject, "+ACK"),
    [Symbol.asyncDispose]: async () => {
      watching[Symbol.dispose]();
      const open = await Promise.allSettled(dispatchers.values());
      for (const result of open) if (result.status === "fulfilled") result.value[Symbol.dispose]();
    },
  };
}

/** True when the stream is not there: the broker says so, or nobody listens on its subjects. */
function isGone(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.code === streamNotFound;
  return error instanceof Error && error.cause instanceof RequestError && error.cause.isNoResponders();
}

/** Waits at all dispatchers at once; what arrives after the first goes straight back to its queue. */
function firstDelivery(
  dispatchers: readonly Dispatcher[],
  maxWaitMs: number,
  signal: AbortSignal,
): Promise<Delivery | undefined> {
  return new Promise((resolve) => {
    const leave: (() => void)[] = [];
    let settled = false;
    const settle = (delivery: Delivery | undefined) => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      for (const fn of leave) fn();
      resolve(delivery);
      return true;
    };
    const giveUp = () => void settle(undefined);
    const timer = setTimeout(giveUp, maxWaitMs);
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) return giveUp();
    for (const dispatcher of dispatchers) {
      if (settled) return;
      leave.push(dispatcher.wait(maxWaitMs, settle));
    }
  });
}

/** Memory storage: jobs are derived from the log, and every fsync they would cost is one that a fact could have had. */
function jobsStream(name: string, allSubjects: string, replicas: number): StreamSettings {
  return {
    name,
    subjects: [allSubjects],
    storage: StorageType.Memory,
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_consumers: maxConsumers,
    num_replicas: replicas,
  };
}

function routeSubject(prefix: string, { queue, workspaceId, handler }: JobRoute): string {
  return `${prefix}.job.${queue}.${workspaceId}.${handler}`;
}
