import { AckPolicy, DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type Nats, onReconnect } from "../eventlog/nats.ts";
import { ensureStream, isStreamGone, type StreamSettings } from "../eventlog/streams.ts";
import { createDispatcher, type Dispatcher, type Delivery } from "./dispatcher.ts";
import { encodeJob, type Job, type JobRoute, usualPriority } from "./job.ts";
import { createLanes, type Lanes } from "./lanes.ts";
import { nextJob } from "./next-job.ts";

/** "wrong last sequence": a job for this run is there already. */
const jobExists = new Set([10071, 10164]);
/** "sequence not found": the message is gone. */
const sequenceNotFound = 10043;
/** The priorities that a route may have jobs of beside the usual one. */
const higherPriorities = [1, 2, 3, 4, 5, 6, 7, 8, 9];
/** A positive number lifts the server's default of 1,000 consumers a stream. */
const maxConsumers = 100_000;
/** How long the broker has to confirm the end of a job. */
const confirmTimeoutMs = 2_000;

/** The queue of jobs, and who waits for them in this process. */
export interface Jobs extends AsyncDisposable {
  /** Makes a job unless there is one for the run already; true when it did. */
  publish(job: Job): Promise<boolean>;
  /** Removes the job of a run that nobody is to claim, if there is one. */
  withdraw(job: JobRoute & Pick<Job, "priority" | "runId">): Promise<void>;
  /** How many jobs there are, waiting or leased. */
  count(): Promise<number>;
  /** The run ids that have a job, waiting or leased; of one workspace, or of all. */
  runIds(workspaceId?: string): Promise<Set<string>>;
  /** The next job for any of the routes, the highest priority first; undefined when `maxWaitMs` passed or the signal aborted. */
  next(routes: readonly JobRoute[], maxWaitMs: number, signal: AbortSignal): Promise<Delivery | undefined>;
  /** Keeps a leased job from being delivered again for another ack wait. */
  extend(ackSubject: string): void;
  /** Makes a leased job available again after a pause. */
  release(ackSubject: string, delayMs: number): void;
  /** Removes a job whose run has ended. */
  finish(ackSubject: string): void;
  /**
   * Removes a job and waits until the broker has done so: a job that is made for the same run afterwards is not taken for a
   * repeat. Does not fail: a job that is left is dropped at its next delivery, and the reconciler makes a missing one.
   */
  finishConfirmed(ackSubject: string): Promise<void>;
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
  const { nats, stream, prefix, replicas, leaseTtlMs, log } = options;
  const { connection, jsm } = nats;
  const routes = new Map<string, Lanes>();
  const ensureQueue = () => ensureStream(jsm, jobsStream(stream, `${prefix}.job.>`, replicas));
  await ensureQueue();
  const watching = onReconnect(nats, () => {
    for (const lanes of routes.values()) lanes.reset();
  });
  // Who makes a job of a priority that others may not have met yet says so: each process opens its lanes by itself.
  const announcements = `${prefix}.lane`;
  const listening = connection.subscribe(announcements, {
    callback: (_error, message) => {
      const [key = "", priority] = message.string().split(" ");
      routes.get(key)?.learn(Number(priority));
    },
  });

  function announce(key: string, priority: number): void {
    if (priority !== usualPriority && !connection.isClosed()) connection.publish(announcements, `${key} ${priority}`);
  }

  /** The queue is in the broker's memory: whoever finds it gone makes it anew, and the reconciler fills it. */
  async function onQueue<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!isStreamGone(error)) throw error;
    }
    await ensureQueue();
    return ask();
  }

  async function openDispatcher(route: JobRoute, priority: number): Promise<Dispatcher> {
    // A separator that no part can contain.
    const durable = `${route.queue}~${route.workspaceId}~${route.handler}~${priority}`;
    const reopen = () =>
      onQueue(() =>
        jsm.consumers.add(stream, {
          durable_name: durable,
          filter_subject: laneFilter(prefix, routeKey(route), priority),
          ack_policy: AckPolicy.Explicit,
          ack_wait: nanos(leaseTtlMs),
          max_deliver: -1,
          max_ack_pending: -1,
        }),
      );
    await reopen();
    return createDispatcher({ nats, stream, durable, reopen, log });
  }

  /** The newest job on the subjects; null when there is none. */
  function newest(subjects: string) {
    return onQueue(() => jsm.streams.getMessage(stream, { last_by_subj: subjects }));
  }

  async function hasJobs(key: string, priority: number): Promise<boolean> {
    return (await newest(laneFilter(prefix, key, priority))) !== null;
  }

  function lanesOf(route: JobRoute): Lanes {
    const key = routeKey(route);
    const known = routes.get(key);
    if (known) return known;
    const lanes = createLanes({
      present: async () => {
        const found = await Promise.all(higherPriorities.map((priority) => hasJobs(key, priority)));
        return higherPriorities.filter((_, index) => found[index]);
      },
      openDispatcher: (priority) => openDispatcher(route, priority),
      log,
    });
    routes.set(key, lanes);
    return lanes;
  }

  function respond(ackSubject: string, body: string): void {
    if (!connection.isClosed()) connection.publish(ackSubject, body);
  }

  return {
    async publish(job) {
      try {
        const subject = jobSubject(prefix, job);
        await onQueue(() => nats.js.publish(subject, encodeJob(job), { expect: { lastSubjectSequence: 0 } }));
        announce(routeKey(job), job.priority);
        return true;
      } catch (error) {
        if (error instanceof JetStreamApiError && jobExists.has(error.code)) return false;
        throw error;
      }
    },
    async withdraw(job) {
      const found = await newest(jobSubject(prefix, job));
      if (found === null) return;
      try {
        // Not a purge of the subject: that moves the consumer's ack floor past jobs that were delivered before this one and are
        // not acknowledged yet, and those are never delivered again (nats-server#5727).
        await jsm.streams.deleteMessage(stream, found.seq, false);
      } catch (error) {
        const isGone = error instanceof JetStreamApiError && error.code === sequenceNotFound;
        if (!isGone && !isStreamGone(error)) throw error;
      }
    },
    count: async () => (await onQueue(() => jsm.streams.info(stream))).state.messages,
    async runIds(workspaceId = "*") {
      const filter = `${prefix}.job.*.${workspaceId}.>`;
      const { state } = await onQueue(() => jsm.streams.info(stream, { subjects_filter: filter }));
      const places = Object.keys(state.subjects ?? {}).map((subject) => placeOf(prefix, subject));
      // Whoever has missed an announcement hears it again.
      for (const lane of new Set(places.map(({ key, priority }) => `${key} ${priority}`))) {
        const [key = "", priority] = lane.split(" ");
        announce(key, Number(priority));
      }
      return new Set(places.map(({ runId }) => runId));
    },
    next: (wanted, maxWaitMs, signal) => nextJob(wanted.map(lanesOf), maxWaitMs, signal),
    extend: (ackSubject) => respond(ackSubject, "+WPI"),
    release: (ackSubject, delayMs) => respond(ackSubject, `-NAK {"delay": ${nanos(Math.max(0, Math.ceil(delayMs)))}}`),
    finish: (ackSubject) => respond(ackSubject, "+ACK"),
    async finishConfirmed(ackSubject) {
      try {
        await connection.request(ackSubject, "+ACK", { timeout: confirmTimeoutMs });
      } catch (error) {
        log.warn({ err: error }, "end of a job not confirmed");
      }
    },
    [Symbol.asyncDispose]: async () => {
      watching[Symbol.dispose]();
      listening.unsubscribe();
      for (const lanes of routes.values()) lanes[Symbol.dispose]();
    },
  };
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

/** `<queue>.<workspace>.<handler>` */
function routeKey({ queue, workspaceId, handler }: JobRoute): string {
  return `${queue}.${workspaceId}.${handler}`;
}

function laneFilter(prefix: string, key: string, priority: number): string {
  return `${prefix}.job.${key}.${priority}.*`;
}

function jobSubject(prefix: string, job: JobRoute & Pick<Job, "priority" | "runId">): string {
  return `${prefix}.job.${routeKey(job)}.${job.priority}.${job.runId}`;
}

function placeOf(prefix: string, subject: string): { key: string; priority: number; runId: string } {
  const tokens = subject.slice(`${prefix}.job.`.length).split(".");
  return { key: tokens.slice(0, 3).join("."), priority: Number(tokens[3]), runId: tokens[4] ?? "" };
}
