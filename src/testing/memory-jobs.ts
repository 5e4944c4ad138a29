import type { Delivery } from "../jobs/dispatcher.ts";
import type { Job, JobRoute } from "../jobs/job.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { createBell } from "../kernel/wait.ts";
import type { TestClock } from "./test-clock.ts";

/** The queue of jobs in memory. A lease does not lapse by itself: nobody dies in a test who does not say so. */
export interface MemoryJobs extends Jobs {
  /** When the next job may be taken that may not be taken yet; undefined when there is none. */
  nextTime(): Date | undefined;
}

interface Entry {
  readonly job: Job;
  deliveries: number;
  isTaken: boolean;
  dueMs: number;
}

/** A queue without jobs. */
export function createMemoryJobs(clock: TestClock): MemoryJobs {
  const entries = new Map<string, Entry>();
  const bell = createBell();
  clock.onMove(bell.ring);

  function take(routes: readonly JobRoute[]): Delivery | undefined {
    const nowMs = clock.now().getTime();
    const [first] = [...entries.values()]
      .filter(({ isTaken, dueMs, job }) => !isTaken && dueMs <= nowMs && routes.some((route) => isOn(job, route)))
      .toSorted((a, b) => b.job.priority - a.job.priority);
    if (first === undefined) return undefined;
    first.isTaken = true;
    first.deliveries++;
    return { job: first.job, redelivered: first.deliveries > 1, ackSubject: first.job.runId };
  }

  function release(runId: string, delayMs: number): void {
    const entry = entries.get(runId);
    if (entry === undefined) return;
    entry.isTaken = false;
    entry.dueMs = clock.now().getTime() + Math.max(delayMs, 0);
    bell.ring();
  }

  return {
    async publish(job) {
      if (entries.has(job.runId)) return false;
      entries.set(job.runId, { job, deliveries: 0, isTaken: false, dueMs: 0 });
      bell.ring();
      return true;
    },
    withdraw: async ({ runId }) => void entries.delete(runId),
    count: async () => entries.size,
    runIds: async () => new Set(entries.keys()),
    async next(routes, maxWaitMs, signal) {
      const until = performance.now() + maxWaitMs;
      for (;;) {
        const delivery = take(routes);
        const leftMs = until - performance.now();
        if (delivery !== undefined || leftMs <= 0 || signal.aborted) return delivery;
        await bell.wait(signal, leftMs);
      }
    },
    extend: () => {},
    release,
    finish: (runId) => void entries.delete(runId),
    finishConfirmed: async (runId) => void entries.delete(runId),
    nextTime() {
      const nowMs = clock.now().getTime();
      const dues = [...entries.values()].flatMap(({ isTaken, dueMs }) => (!isTaken && dueMs > nowMs ? [dueMs] : []));
      return dues.length === 0 ? undefined : new Date(Math.min(...dues));
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

function isOn(job: Job, { workspaceId, queue, handler }: JobRoute): boolean {
  return job.workspaceId === workspaceId && job.queue === queue && job.handler === handler;
}
