import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type Run,
  RunSchema,
  type Step,
  StepSchema,
  type ToolCall,
  ToolCallSchema,
  type ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { ListRunsRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { type Found, findResources } from "../readmodel/resource-page.ts";

/** Reads what the log was folded into, a page at a time. */
export interface RunLists {
  /** Runs of a workspace, newest first. */
  runs(workspaceId: string, request: ListRunsRequest, page: Page): Promise<Found<Run>>;
  /** Steps of a run in order of their first start. */
  steps(workspaceId: string, runId: string, page: Page): Promise<Found<Step>>;
  /** Tool calls of a run, or of all runs when `runId` is empty, in the order in which they were asked for. */
  toolCalls(
    workspaceId: string,
    runId: string,
    statuses: readonly ToolCallStatus[],
    page: Page,
  ): Promise<Found<ToolCall>>;
}

const listRunsText = `
select create_position, resource from runs
where workspace_id = $1
  and ($2::smallint[] = '{}' or status = any($2))
  and ($3 = '' or agent_id = $3)
  and ($4 = '' or room_id = $4)
  and ($5 = '' or handler = $5)
  and ($6::jsonb = '{}' or labels @> $6)
  and ($7::timestamptz is null or create_time >= $7)
  and ($8::timestamptz is null or create_time < $8)
  and ($9::bigint is null or create_position < $9)
  and ($10::smallint[] = '{}' or end_reason = any($10))
  and ($11 = '' or parent_run_id = $11)
  and ($12 = '' or session_id = $12)
  and ($13 = '' or queue = $13)
order by create_position desc
limit $14`;

async function listRuns(db: Db, workspaceId: string, request: ListRunsRequest, page: Page): Promise<Found<Run>> {
  return findResources(db, {
    name: "runs_list",
    text: listRunsText,
    order: "desc",
    values: [
      workspaceId,
      request.statuses,
      request.agentId,
      request.roomId,
      request.handler,
      JSON.stringify(request.labels),
      request.startTime ? timestampDate(request.startTime) : null,
      request.endTime ? timestampDate(request.endTime) : null,
      page.after ?? null,
      request.endReasons,
      request.parentRunId,
      request.sessionId,
      request.queue,
      page.size + 1,
    ],
    schema: RunSchema,
    page,
  });
}

const listStepsText = `
select create_position, resource from steps
where workspace_id = $1 and run_id = $2 and create_position > $3
order by create_position limit $4`;

async function listSteps(db: Db, workspaceId: string, runId: string, page: Page): Promise<Found<Step>> {
  return findResources(db, {
    name: "steps_list",
    text: listStepsText,
    order: "asc",
    values: [workspaceId, runId, page.after ?? 0n, page.size + 1],
    schema: StepSchema,
    page,
  });
}

const listToolCallsText = `
select create_position, resource from tool_calls
where workspace_id = $1 and run_id = $2 and create_position > $3
  and ($4::smallint[] = '{}' or status = any($4))
order by create_position limit $5`;

const listAllToolCallsText = `
select create_position, resource from tool_calls
where workspace_id = $1 and create_position > $2
  and ($3::smallint[] = '{}' or status = any($3))
order by create_position limit $4`;

async function listToolCalls(
  db: Db,
  workspaceId: string,
  runId: string,
  statuses: readonly number[],
  page: Page,
): Promise<Found<ToolCall>> {
  const after = page.after ?? 0n;
  const limit = page.size + 1;
  const query =
    runId === ""
      ? { name: "tool_calls_list_all", text: listAllToolCallsText, values: [workspaceId, after, statuses, limit] }
      : { name: "tool_calls_list", text: listToolCallsText, values: [workspaceId, runId, after, statuses, limit] };
  return findResources(db, { ...query, order: "asc", schema: ToolCallSchema, page });
}

/** The lists of runs and of what they recorded. */
export function createRunLists(db: Db): RunLists {
  return {
    runs: (workspaceId, request, page) => listRuns(db, workspaceId, request, page),
    steps: (workspaceId, runId, page) => listSteps(db, workspaceId, runId, page),
    toolCalls: (workspaceId, runId, statuses, page) => listToolCalls(db, workspaceId, runId, statuses, page),
  };
}

const openRunsText = `
select workspace_id, run_id, status, create_position from runs
where (status = 1 and available_time <= now() or status = 2 and lease_expire_time <= now())
  and create_position > $1
order by create_position limit $2`;

/** An open run that may need help. */
export interface OpenRun {
  readonly workspaceId: string;
  readonly runId: string;
  /** False when it is queued. */
  readonly running: boolean;
  readonly createPosition: bigint;
}

/** Up to `limit` runs behind a creation position, oldest first: queued and due, or running beyond the lease as granted. */
export async function openRuns(db: Db, after: bigint, limit: number): Promise<OpenRun[]> {
  const { rows } = await db.query<{ workspace_id: string; run_id: string; status: number; create_position: bigint }>({
    name: "runs_open",
    text: openRunsText,
    values: [after, limit],
  });
  return rows.map((row) => ({
    workspaceId: row.workspace_id,
    runId: row.run_id,
    running: row.status === 2,
    createPosition: row.create_position,
  }));
}

const openSummaryText = `
select
  (select count(*) from runs where status = 1 and available_time <= now() or status = 2) as open,
  (select count(*) from runs where status = 2 and lease_expire_time <= now()) as beyond_lease,
  least(
    (select min(deadline_time) from runs where deadline_time is not null and status < 5),
    (select min(available_time) from runs where status = 1 and available_time > now())
  ) as next_time`;

/** What there is to look after: runs that should have a job, running ones beyond their lease as granted, the next due time. */
export async function openSummary(db: Db): Promise<{ open: number; beyondLease: number; nextTime: Date | undefined }> {
  const { rows } = await db.query<{ open: bigint; beyond_lease: bigint; next_time: Date | null }>({
    name: "runs_open_summary",
    text: openSummaryText,
  });
  const [row] = rows;
  return {
    open: Number(row?.open ?? 0n),
    beyondLease: Number(row?.beyond_lease ?? 0n),
    nextTime: row?.next_time ?? undefined,
  };
}

const overdueRunsText = `
select workspace_id, run_id from runs
where deadline_time <= now() and status < 5
order by deadline_time limit $1`;

/** Up to `limit` open runs whose deadline has passed. */
export async function overdueRuns(db: Db, limit: number): Promise<{ workspaceId: string; runId: string }[]> {
  const { rows } = await db.query<{ workspace_id: string; run_id: string }>({
    name: "runs_overdue",
    text: overdueRunsText,
    values: [limit],
  });
  return rows.map((row) => ({ workspaceId: row.workspace_id, runId: row.run_id }));
}

const sessionRunsText = `
select create_position, resource from runs
where workspace_id = $1 and session_id = $2 and session_id <> '' and create_position > $3
order by create_position limit $4`;

/** Runs of a session, oldest first. */
export async function listSessionRuns(db: Db, workspaceId: string, sessionId: string, page: Page): Promise<Found<Run>> {
  return findResources(db, {
    name: "runs_of_session",
    text: sessionRunsText,
    order: "asc",
    values: [workspaceId, sessionId, page.after ?? 0n, page.size + 1],
    schema: RunSchema,
    page,
  });
}

const sessionRunPositionsText = `
select run_id, create_position from runs
where workspace_id = $1 and session_id = $2 and run_id = any($3::text[])`;

/** Where in the log those of the runs were created that belong to the session, by run id. */
export async function sessionRunPositions(
  db: Db,
  workspaceId: string,
  sessionId: string,
  runIds: readonly string[],
): Promise<Map<string, bigint>> {
  const { rows } = await db.query<{ run_id: string; create_position: bigint }>({
    name: "runs_of_session_positions",
    text: sessionRunPositionsText,
    values: [workspaceId, sessionId, runIds],
  });
  return new Map(rows.map((row) => [row.run_id, row.create_position]));
}
