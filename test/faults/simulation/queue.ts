import type { Heartbeats } from "../../../src/jobs/heartbeats.ts";
import type { Job } from "../../../src/jobs/job.ts";
import type { Jobs } from "../../../src/jobs/jobs.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import type { Seeded } from "../../support/seeded.ts";

/** The queue of jobs and the signs of life, as a broker keeps them: outside of all servers. */
export interface SimulatedQueue {
  readonly jobs: Jobs;
  readonly heartbeats: Heartbeats;
  /** Forgets all jobs, as a broker does that is restarted. */
  forget(): void;
}

interface QueuedJob {
  readonly job: Job;
  deliveries: number;
  /** When it may be delivered (again). */
  availableMs: number;
}

interface QueueOptions {
  readonly random: Seeded;
  readonly nowMs: () => number;
  readonly leaseTtlMs: number;
  /** False once the broker behaves. */
  readonly misbehaves: () => boolean;
}

/**
 * A queue with JetStream's habits: jobs come in any order, come again before their time, acknowledgements are taken from
 * anyone at any time, and nobody hears whether they arrived.
 */
export function createSimulatedQueue({ random, nowMs, leaseTtlMs, misbehaves }: QueueOptions): SimulatedQueue {
  const queue = new Map<string, QueuedJob>();
  const listeners = new Set<(runId: string) => void>();

  function onJob(ackSubject: string, change: (queued: QueuedJob) => void): void {
    const queued = queue.get(ackSubject);
    if (queued === undefined || (misbehaves() && random.oneIn(10))) return;
    change(queued);
  }

  const jobs: Jobs = {
    async publish(job) {
      await sleep(random.below(10));
      if (queue.has(job.runId)) return false;
      queue.set(job.runId, { job, deliveries: 0, availableMs: nowMs() });
      return true;
    },
    withdraw: async ({ runId }) => void queue.delete(runId),
    count: async () => queue.size,
    runIds: async () => new Set(queue.keys()),
    async next() {
      await sleep(random.below(10));
      const isEarly = () => misbehaves() && random.oneIn(20);
      const ready = [...queue.values()].filter(({ availableMs }) => availableMs <= nowMs() || isEarly());
      if (ready.length === 0) return undefined;
      const queued = random.pick(ready);
      queued.deliveries++;
      queued.availableMs = nowMs() + leaseTtlMs;
      const { job, deliveries } = queued;
      return { job, redelivered: deliveries > 1, ackSubject: job.runId };
    },
    extend: (ackSubject) => onJob(ackSubject, (queued) => (queued.availableMs = nowMs() + leaseTtlMs)),
    release: (ackSubject, delayMs) => onJob(ackSubject, (queued) => (queued.availableMs = nowMs() + delayMs)),
    finish: (ackSubject) => onJob(ackSubject, () => queue.delete(ackSubject)),
    finishConfirmed: async (ackSubject) => onJob(ackSubject, () => queue.delete(ackSubject)),
    [Symbol.asyncDispose]: async () => {},
  };
  return {
    jobs,
    heartbeats: {
      send(runId) {
        if (!misbehaves() || !random.oneIn(4)) for (const hear of listeners) hear(runId);
      },
      listen(hear) {
        listeners.add(hear);
        return { [Symbol.dispose]: () => void listeners.delete(hear) };
      },
    },
    forget: () => queue.clear(),
  };
}
