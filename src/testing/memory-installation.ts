import { clientOver, type SignalboxClient } from "../client/clients.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import { createEventLog, type EventLog } from "../eventlog/event-log.ts";
import { openFeed } from "../eventlog/feed.ts";
import { createMemoryStore } from "../eventlog/memory-store.ts";
import { createSubjects } from "../eventlog/subjects.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import { createBell } from "../kernel/wait.ts";
import { runAggregate } from "../runs/state.ts";
import { createMemoryApprovals } from "./memory-approvals.ts";
import { createMemoryDeltas, type MemoryDeltas } from "./memory-deltas.ts";
import { createMemoryGate } from "./memory-gate.ts";
import { createMemoryJobs } from "./memory-jobs.ts";
import { createMemoryLists, type MemoryLists } from "./memory-lists.ts";
import { createMemoryReactors } from "./memory-reactors.ts";
import { openMemoryServices } from "./memory-services.ts";
import { silent } from "./silent-logger.ts";
import { createTestClock, type TestClock } from "./test-clock.ts";

/** An installation in memory: the production services on a log, a queue and read models that last as long as a test. */
export interface MemoryInstallation extends AsyncDisposable {
  readonly log: EventLog;
  readonly lists: MemoryLists;
  readonly deltas: MemoryDeltas;
  readonly clock: TestClock;
  /** A client in a workspace. */
  client(workspaceId: string): SignalboxClient;
  /** Resolves when `holds` is true of the runs as they are then. Rejects when the signal aborts. */
  until(holds: () => boolean, signal: AbortSignal): Promise<void>;
  /**
   * Moves the clock to when something is due next, up to `limit`, and does it; false when nothing is. Without a limit only runs
   * have time pass: an approval waits for people.
   */
  skip(limit?: Date): Promise<boolean>;
}

/** Opens an installation whose clock stands at `start`. */
export async function openMemoryInstallation(start: Date): Promise<MemoryInstallation> {
  const clock = createTestClock(start);
  const log = createEventLog(createMemoryStore(), createSubjects("sb"));
  const feed = await openFeed(log, silent);
  const aggregates = createAggregates(runAggregate, { log, clock, ids });
  const jobs = createMemoryJobs(clock);
  const lists = createMemoryLists();
  const deltas = createMemoryDeltas();
  const reactors = createMemoryReactors({ aggregates, lists, jobs, clock, ids });
  const gate = createMemoryGate({ log, feed, lists, clock, ids });
  const approvals = createMemoryApprovals({ aggregates, approvals: gate.approvals, lists, clock, ids });
  const transport = openMemoryServices({ log, feed, aggregates, lists, jobs, deltas, gate, clock, ids });
  const closing = new AbortController();
  const changed = createBell();
  let reacted = 0n;
  let failure: { readonly error: unknown } | undefined;

  async function follow(): Promise<void> {
    for await (const record of log.tail(0n, closing.signal)) {
      lists.take(record);
      await reactors.react(record);
      await approvals.react(record);
      reacted = record.position;
      changed.ring();
    }
  }

  const following = follow().catch((error: unknown) => {
    failure = { error };
    changed.ring();
  });

  return {
    log,
    lists,
    deltas,
    clock,
    client: (workspaceId) => clientOver(transport, { workspaceId }),
    async until(holds, signal) {
      for (;;) {
        if (failure !== undefined) throw failure.error;
        signal.throwIfAborted();
        // What the log says and nobody has reacted to yet may change everything.
        const { head } = await log.bounds();
        if (reacted === head && holds()) return;
        await changed.wait(signal, 50);
      }
    },
    async skip(limit) {
      const runMs = Math.min(...msOf(reactors.nextTime()), ...msOf(jobs.nextTime()));
      const limitMs = limit?.getTime() ?? runMs;
      const nextMs = Math.min(runMs, ...msOf(approvals.nextTime()));
      if (nextMs > limitMs || !Number.isFinite(limitMs)) return false;
      clock.advanceTo(new Date(nextMs));
      await approvals.onTime();
      await reactors.onTime();
      return true;
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await following;
      await feed[Symbol.asyncDispose]();
    },
  };
}

function msOf(time: Date | undefined): number[] {
  return time === undefined ? [] : [time.getTime()];
}
