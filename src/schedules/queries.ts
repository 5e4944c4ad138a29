import { type Schedule, ScheduleSchema, type ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which schedules to list. */
export interface ScheduleQuery {
  readonly workspaceId: string;
  /** Keeps only these; empty keeps all. */
  readonly statuses: readonly ScheduleStatus[];
  readonly page: Page;
}

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from schedules " +
  "where workspace_id = $1 and create_position < $2 and (cardinality($3::smallint[]) = 0 or status = any($3)) " +
  "order by create_position desc limit $4";

/** A page of schedules, newest first. */
export function listSchedules(db: Db, { workspaceId, statuses, page }: ScheduleQuery): Promise<Found<Schedule>> {
  return findResources(db, {
    name: "schedules_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, statuses, page.size + 1],
    schema: ScheduleSchema,
    page,
  });
}

/** A schedule that will fire, or should have. */
export interface NextFiring {
  readonly workspaceId: string;
  readonly scheduleId: string;
  readonly nextTime: Date;
}

const nextText =
  "select workspace_id, schedule_id, next_time from schedules " +
  "where next_time is not null order by next_time limit $1";

/** Up to `limit` schedules of all workspaces, the one that fires first in front. */
export async function nextFirings(db: Db, limit: number): Promise<NextFiring[]> {
  const { rows } = await db.query<{ workspace_id: string; schedule_id: string; next_time: Date }>({
    name: "schedules_next",
    text: nextText,
    values: [limit],
  });
  return rows.map((row) => ({
    workspaceId: row.workspace_id,
    scheduleId: row.schedule_id,
    nextTime: row.next_time,
  }));
}
