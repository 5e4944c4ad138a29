import type { Db } from "../readmodel/postgres.ts";

/** What a queue holds. */
export interface QueueNumbers {
  readonly queue: string;
  /** Runs that are queued, those that back off included. */
  readonly queued: bigint;
  readonly running: bigint;
}

const numbersOf = `
select queue, count(*) filter (where status = 1) as queued, count(*) filter (where status = 2) as running
from runs
where workspace_id = $1 and status < 5 and`;

const queuesText = `${numbersOf} queue collate "C" > $2
group by queue
order by queue collate "C" limit $3`;

/** Up to `limit` queues of a workspace with open runs, by name: those behind `after`. */
export async function queuesInUse(db: Db, workspaceId: string, after: string, limit: number): Promise<QueueNumbers[]> {
  const { rows } = await db.query<QueueNumbers>({
    name: "runs_queues",
    text: queuesText,
    values: [workspaceId, after, limit],
  });
  return rows;
}

/** What one queue holds; undefined when it has no open runs. */
export async function queueInUse(db: Db, workspaceId: string, queue: string): Promise<QueueNumbers | undefined> {
  const { rows } = await db.query<QueueNumbers>({
    name: "runs_queue",
    text: `${numbersOf} queue collate "C" = $2 group by queue`,
    values: [workspaceId, queue],
  });
  return rows[0];
}

/** A run that is queued or running. */
export interface QueuedRun {
  readonly workspaceId: string;
  readonly runId: string;
  readonly handler: string;
  readonly queue: string;
  readonly agentId: string;
  readonly concurrencyKey: string;
  readonly priority: number;
  readonly createTime: Date;
  /** Undefined until it was claimed for the first time. */
  readonly startTime: Date | undefined;
  readonly running: boolean;
  /** Queued, and not to be claimed before a time that has not come. */
  readonly backsOff: boolean;
  readonly position: bigint;
}

interface QueuedRow {
  run_id: string;
  handler: string;
  queue: string;
  agent_id: string;
  concurrency_key: string;
  priority: number;
  create_time: Date;
  start_time: Date | null;
  status: number;
  backs_off: boolean;
  last_position: bigint;
}

const queuedText = `
select run_id, handler, queue, agent_id, concurrency_key, priority, create_time, start_time, status,
  status = 1 and available_time > now() as backs_off, last_position
from runs
where workspace_id = $1 and status in (1, 2) and (queue = any($2) or agent_id = any($3))
order by priority desc, create_time`;

/** The runs of a workspace that are queued or running in one of the queues or for one of the agents, as their turns come. */
export async function queuedRuns(
  db: Db,
  workspaceId: string,
  queues: readonly string[],
  agentIds: readonly string[],
): Promise<QueuedRun[]> {
  const { rows } = await db.query<QueuedRow>({
    name: "runs_queued",
    text: queuedText,
    values: [workspaceId, queues, agentIds],
  });
  return rows.map((row) => ({
    workspaceId,
    runId: row.run_id,
    handler: row.handler,
    queue: row.queue,
    agentId: row.agent_id,
    concurrencyKey: row.concurrency_key,
    priority: row.priority,
    createTime: row.create_time,
    startTime: row.start_time ?? undefined,
    running: row.status === 2,
    backsOff: row.backs_off,
    position: row.last_position,
  }));
}

const startsText = `
select start_time from runs
where workspace_id = $1 and queue = $2 and start_time > $3
order by start_time`;

/** When runs of a queue were claimed for the first time since a time, oldest first. */
export async function recentStarts(db: Db, workspaceId: string, queue: string, since: Date): Promise<Date[]> {
  const { rows } = await db.query<{ start_time: Date }>({
    name: "runs_recent_starts",
    text: startsText,
    values: [workspaceId, queue, since],
  });
  return rows.map((row) => row.start_time);
}
