import type { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Db } from "../readmodel/postgres.ts";

/** An approval that has not ended, as far as the reactor has to know it. */
export interface OpenApproval {
  readonly workspaceId: string;
  readonly approvalId: string;
  readonly runId: string;
  /** The hash of the policy that asked. */
  readonly policyHash: string;
}

interface OpenRow {
  workspace_id: string;
  approval_id: string;
  run_id: string;
  policy_hash: string;
}

const toOpen = (row: OpenRow): OpenApproval => ({
  workspaceId: row.workspace_id,
  approvalId: row.approval_id,
  runId: row.run_id,
  policyHash: row.policy_hash,
});

const openText = `
select workspace_id, approval_id, run_id, policy_hash, create_position from approvals
where status in (1, 2, 3) and create_position > $1
order by create_position limit $2`;

/** Up to `limit` open approvals behind a creation position, oldest first, and the position to go on behind. */
export async function openApprovals(
  db: Db,
  after: bigint,
  limit: number,
): Promise<{ approvals: OpenApproval[]; after: bigint | undefined }> {
  const { rows } = await db.query<OpenRow & { create_position: bigint }>({
    name: "approvals_open",
    text: openText,
    values: [after, limit],
  });
  return { approvals: rows.map(toOpen), after: rows.length < limit ? undefined : rows.at(-1)?.create_position };
}

const dueText = `
select workspace_id, approval_id, due_time from approvals
where due_time <= $1
order by due_time limit $2`;

/** An approval of which something becomes by itself at a time. */
export interface DueApproval {
  readonly workspaceId: string;
  readonly approvalId: string;
  readonly dueTime: Date;
}

/** Up to `limit` approvals that lapse or escalate by then, the earliest first. */
export async function dueApprovals(db: Db, by: Date, limit: number): Promise<DueApproval[]> {
  const { rows } = await db.query<{ workspace_id: string; approval_id: string; due_time: Date }>({
    name: "approvals_due",
    text: dueText,
    values: [by, limit],
  });
  return rows.map((row) => ({ workspaceId: row.workspace_id, approvalId: row.approval_id, dueTime: row.due_time }));
}

/** A decision that the run has not been told of. */
export interface UntoldDecision {
  readonly workspaceId: string;
  readonly approvalId: string;
  readonly runId: string;
  readonly status: ApprovalStatus;
}

const untoldText = `
select approval.workspace_id, approval.approval_id, approval.run_id, approval.status
from runs run
cross join lateral jsonb_array_elements_text(run.waiting_approvals) as awaited (approval_id)
join approvals approval on approval.workspace_id = run.workspace_id and approval.approval_id = awaited.approval_id
where run.status = 3 and run.waiting_approvals <> '[]' and approval.run_id = run.run_id and approval.status in (3, 4, 5, 7)
limit $1`;

/** Up to `limit` approvals that a waiting run still waits for although they are approved or have ended. */
export async function untoldDecisions(db: Db, limit: number): Promise<UntoldDecision[]> {
  const { rows } = await db.query<Omit<OpenRow, "policy_hash"> & { status: ApprovalStatus }>({
    name: "approvals_untold",
    text: untoldText,
    values: [limit],
  });
  return rows.map((row) => ({
    workspaceId: row.workspace_id,
    approvalId: row.approval_id,
    runId: row.run_id,
    status: row.status,
  }));
}

const abandonedText = `
select approval.workspace_id, approval.approval_id, approval.run_id, approval.policy_hash
from approvals approval
join runs run on run.workspace_id = approval.workspace_id and run.run_id = approval.run_id
where approval.status in (1, 2, 3) and run.status >= 5
limit $1`;

/** Up to `limit` open approvals whose run has ended. */
export async function abandonedApprovals(db: Db, limit: number): Promise<OpenApproval[]> {
  const { rows } = await db.query<OpenRow>({ name: "approvals_abandoned", text: abandonedText, values: [limit] });
  return rows.map(toOpen);
}
