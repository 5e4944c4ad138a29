import type { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Db } from "../readmodel/postgres.ts";

/** A waiting run and the earliest time that it waits for. */
export interface WaitingRun {
  readonly workspaceId: string;
  readonly runId: string;
  readonly wakeTime: Date;
}

const wakingText = `
select workspace_id, run_id, wake_time from runs
where status = 3 and wake_time <= $1
order by wake_time limit $2`;

/** Up to `limit` waiting runs whose time comes by then, the earliest first. */
export async function wakingRuns(db: Db, by: Date, limit: number): Promise<WaitingRun[]> {
  const { rows } = await db.query<{ workspace_id: string; run_id: string; wake_time: Date }>({
    name: "runs_waking",
    text: wakingText,
    values: [by, limit],
  });
  return rows.map((row) => ({ workspaceId: row.workspace_id, runId: row.run_id, wakeTime: row.wake_time }));
}

/** A run and the run that created it. */
export interface Child {
  readonly workspaceId: string;
  readonly runId: string;
  readonly parentRunId: string;
}

interface ChildRow {
  workspace_id: string;
  run_id: string;
  parent_run_id: string;
}

const toChild = (row: ChildRow): Child => ({
  workspaceId: row.workspace_id,
  runId: row.run_id,
  parentRunId: row.parent_run_id,
});

const openChildrenText = `
select workspace_id, run_id, parent_run_id, create_position from runs
where parent_run_id <> '' and status < 5 and create_position > $1
order by create_position limit $2`;

/** Up to `limit` open children behind a creation position, oldest first, and the position to go on behind. */
export async function openChildren(
  db: Db,
  after: bigint,
  limit: number,
): Promise<{ children: Child[]; after: bigint | undefined }> {
  const { rows } = await db.query<ChildRow & { create_position: bigint }>({
    name: "runs_open_children",
    text: openChildrenText,
    values: [after, limit],
  });
  return {
    children: rows.map(toChild),
    after: rows.length < limit ? undefined : rows.at(-1)?.create_position,
  };
}

const endedText = `
select parent.workspace_id, child.run_id, parent.run_id as parent_run_id, child.status
from runs parent
cross join lateral jsonb_array_elements_text(parent.waiting_for) as awaited (run_id)
join runs child on child.workspace_id = parent.workspace_id and child.run_id = awaited.run_id
where parent.status = 3 and parent.waiting_for <> '[]' and child.status >= 5
limit $1`;

/** Up to `limit` ends of children that a waiting run has not been told of. */
export async function untoldEnds(db: Db, limit: number): Promise<(Child & { status: RunStatus })[]> {
  const { rows } = await db.query<ChildRow & { status: RunStatus }>({
    name: "runs_untold_ends",
    text: endedText,
    values: [limit],
  });
  return rows.map((row) => ({ ...toChild(row), status: row.status }));
}

const orphansText = `
select child.workspace_id, child.run_id, child.parent_run_id
from runs child
join runs parent on parent.workspace_id = child.workspace_id and parent.run_id = child.parent_run_id
where child.parent_run_id <> '' and child.status < 5 and parent.status >= 5
limit $1`;

/** Up to `limit` open runs whose parent has ended. */
export async function orphans(db: Db, limit: number): Promise<Child[]> {
  const { rows } = await db.query<ChildRow>({ name: "runs_orphans", text: orphansText, values: [limit] });
  return rows.map(toChild);
}
