import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Db } from "../readmodel/postgres.ts";
import { expireRun } from "./decider.ts";
import { expireLease } from "./lease-decider.ts";
import { type OpenRun, openRuns, openSummary, overdueRuns } from "./queries.ts";
import type { RunState } from "./state.ts";
import type { SystemCommand } from "./system-command.ts";

/** Looks after the runs that nobody else does. */
export interface Reconciler {
  /** Hears heartbeats from now on, until disposed. */
  listen(): Disposable;
  /** Does what is due. Returns in how many milliseconds something is due again. */
  sweep(signal: AbortSignal): Promise<number>;
}

/** What the reconciler needs. */
export interface ReconcilerDeps {
  readonly db: Db;
  readonly aggregates: Aggregates<RunState>;
  readonly command: SystemCommand;
  readonly jobs: Pick<Jobs, "count" | "runIds">;
  /** Who makes the jobs. */
  readonly offers: {
    /** A queued run has no job: makes it, if it should have one. */
    look(workspaceId: string, runId: string): Promise<void> | void;
    /** How many queued runs have none on purpose. */
    waiting(): number;
  };
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
  readonly leaseTtlMs: number;
}

/** Rows looked at in one query. */
const pageSize = 500;
/** Every so many sweeps everything is compared, even when the numbers agree. */
const fullSweepEvery = 12;

/**
 * Ends runs whose deadline has passed, calls leases lapsed of which nobody has heard, and finds the jobs that are missing,
 * because the broker lost its memory or a reactor died between event and job.
 */
export function createReconciler(deps: ReconcilerDeps): Reconciler {
  const { db, aggregates, command, jobs, offers, heartbeats, clock, leaseTtlMs } = deps;
  // Nobody who just began to listen, or was cut off from the broker, knows who was silent before.
  let listeningSinceMs = clock.now().getTime();
  const heardMs = new Map<string, number>();
  let sweeps = 0;

  async function endOverdue(): Promise<void> {
    for (const { workspaceId, runId } of await overdueRuns(db, pageSize)) {
      await command(workspaceId, runId, (state) => expireRun(state, clock.now()));
    }
  }

  async function expireSilent({ workspaceId, runId }: OpenRun, hasJob: boolean): Promise<void> {
    const nowMs = clock.now().getTime();
    if (nowMs - Math.max(heardMs.get(runId) ?? 0, listeningSinceMs) < leaseTtlMs) return;
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status !== "running" || !state.lease) return;
    // Whoever waits for work takes a lapsed run over as soon as the broker delivers its job again: give them the time.
    if (nowMs < state.lease.expireTimeMs + (hasJob ? leaseTtlMs : 0)) return;
    const { leaseId } = state.lease;
    await command(workspaceId, runId, (current) => expireLease(current, leaseId));
  }

  async function compareAll(signal: AbortSignal): Promise<void> {
    const present = await jobs.runIds();
    let after = 0n;
    for (;;) {
      const page = await openRuns(db, after, pageSize);
      for (const run of page) {
        if (signal.aborted) return;
        if (run.running) await expireSilent(run, present.has(run.runId));
        else if (!present.has(run.runId)) await offers.look(run.workspaceId, run.runId);
      }
      const last = page.at(-1);
      if (last === undefined || page.length < pageSize) return;
      after = last.createPosition;
    }
  }

  function forgetOld(): void {
    const oldMs = clock.now().getTime() - 2 * leaseTtlMs;
    for (const [runId, atMs] of heardMs) if (atMs < oldMs) heardMs.delete(runId);
  }

  return {
    listen: () =>
      heartbeats.listen(
        (runId) => heardMs.set(runId, clock.now().getTime()),
        () => {
          listeningSinceMs = clock.now().getTime();
        },
      ),
    async sweep(signal) {
      await endOverdue();
      const { open, beyondLease, nextTime } = await openSummary(db);
      sweeps++;
      // Comparing is work: it is done when the numbers say that something is missing, and now and then to be sure.
      const suspicious = open > 0 && (beyondLease > 0 || (await jobs.count()) < open - offers.waiting());
      if (suspicious || (open > 0 && sweeps % fullSweepEvery === 1)) await compareAll(signal);
      forgetOld();
      return nextTime ? Math.max(nextTime.getTime() - clock.now().getTime(), 10) : Number.POSITIVE_INFINITY;
    },
  };
}
