import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { expireRun } from "./decider.ts";
import { expireLease } from "./lease-decider.ts";
import { type OpenRun, openRuns, openSummary, overdueRuns } from "./queries.ts";
import type { ReactorsOptions } from "./reactors.ts";
import type { RunState } from "./state.ts";

/** Looks after the runs that nobody else does. */
export interface Reconciler {
  /** Hears heartbeats from now on, until disposed. */
  listen(): Disposable;
  /** Does what is due. Returns in how many milliseconds something is due again. */
  sweep(signal: AbortSignal): Promise<number>;
}

/** Rows looked at in one query. */
const pageSize = 500;
/** Every so many sweeps everything is compared, even when the numbers agree. */
const fullSweepEvery = 12;

const signalbox: Principal = create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "signalbox" });

/**
 * Ends runs whose deadline has passed, calls leases lapsed of which nobody has heard, and makes the jobs that are
 * missing, because the broker lost its memory or a reactor died between event and job.
 */
export function createReconciler({
  postgres: { db },
  aggregates,
  jobs,
  heartbeats,
  clock,
  ids,
  leaseTtlMs,
}: Omit<ReactorsOptions, "signal" | "log" | "feed" | "positions" | "schema">): Reconciler {
  // Nobody who just began to listen, or was cut off from the broker, knows who was silent before.
  let listeningSinceMs = clock.now().getTime();
  const heardMs = new Map<string, number>();
  let sweeps = 0;

  function command(workspaceId: string, id: string, decide: (state: RunState) => Draft | undefined) {
    const call = { workspaceId, principal: signalbox, correlationId: ids.next("corr"), traceparent: "" };
    return aggregates.execute({ call, id, decide });
  }

  async function endOverdue(): Promise<void> {
    for (const { workspaceId, runId } of await overdueRuns(db, pageSize)) {
      await command(workspaceId, runId, (state) => expireRun(state, clock.now()));
    }
  }

  async function makeMissing({ workspaceId, runId }: OpenRun): Promise<void> {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status !== "queued") return;
    const { queue, handler } = state.run;
    await jobs.publish({ workspaceId, queue, handler, runId, jobId: ids.next("job") });
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
        else if (!present.has(run.runId)) await makeMissing(run);
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
      const suspicious = open > 0 && (beyondLease > 0 || (await jobs.count()) < open);
      if (suspicious || (open > 0 && sweeps % fullSweepEvery === 1)) await compareAll(signal);
      forgetOld();
      return nextTime ? Math.max(nextTime.getTime() - clock.now().getTime(), 10) : Number.POSITIVE_INFINITY;
    },
  };
}
