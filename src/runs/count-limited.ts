import type { Jobs } from "../jobs/jobs.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Admission, Candidate } from "./admission.ts";
import { listedCandidate } from "./candidate.ts";
import { queuedRuns, recentStarts } from "./queue-queries.ts";

/** What counting needs. */
export interface CountDeps {
  readonly db: Db;
  readonly jobs: Jobs;
  readonly admission: Admission;
  readonly clock: Clock;
}

/** Jobs that are withdrawn at the same time. */
const chunk = 64;

/**
 * Tells the admission anew of every run of a workspace that has limits, as the tables have it. Jobs beyond the limits that
 * nobody has taken are withdrawn: whoever holds a queue, or makes it narrower, means those that wait in it too. Returns the
 * runs that stood in line for a limit that is gone.
 */
export async function countLimited(deps: CountDeps, workspaceId: string): Promise<Candidate[]> {
  const { db, jobs, admission, clock } = deps;
  const stoodInLine = admission.forget(workspaceId);
  const { queues, agentIds, rates } = admission.scopeOf(workspaceId);
  const now = clock.now();
  for (const { queue, periodMs } of rates) {
    const starts = await recentStarts(db, workspaceId, queue, new Date(now.getTime() - periodMs));
    admission.began(
      workspaceId,
      queue,
      starts.map((start) => start.getTime()),
    );
  }
  const present = await jobs.runIds(workspaceId);
  const runs = (await queuedRuns(db, workspaceId, queues, agentIds)).map((run) => ({
    run: listedCandidate(run),
    position: run.position,
    isOffered: present.has(run.runId),
    isUnderWay: run.running || (run.backsOff && present.has(run.runId)),
  }));
  for (const { run, position, isUnderWay } of runs) if (isUnderWay) admission.occupy(run, position);
  const surplus: Candidate[] = [];
  for (const { run, position, isUnderWay, isOffered } of runs) {
    if (isUnderWay) continue;
    if (isOffered && admission.hasRoom(run, now.getTime())) admission.occupy(run, position);
    else {
      admission.enter(run, position);
      if (isOffered) surplus.push(run);
    }
  }
  for (let i = 0; i < surplus.length; i += chunk) {
    await Promise.all(surplus.slice(i, i + chunk).map((run) => jobs.withdraw(run)));
  }
  return stoodInLine.filter((run) => !admission.limits(run));
}

/**
 * The runs of which the admission and the tables do not say the same, though neither is behind `position`: to be looked at
 * one by one.
 */
export async function findDisagreements(
  { db, admission }: Pick<CountDeps, "db" | "admission">,
  position: bigint,
): Promise<{ workspaceId: string; runId: string }[]> {
  const found: { workspaceId: string; runId: string }[] = [];
  for (const workspaceId of admission.workspaces()) {
    const { queues, agentIds } = admission.scopeOf(workspaceId);
    const rows = new Map((await queuedRuns(db, workspaceId, queues, agentIds)).map((run) => [run.runId, run]));
    for (const known of admission.known(workspaceId)) {
      if (!rows.delete(known.runId) && known.position <= position) found.push({ workspaceId, runId: known.runId });
    }
    for (const row of rows.values()) if (row.position <= position) found.push({ workspaceId, runId: row.runId });
  }
  return found;
}
