import { fromBinary } from "@bufbuild/protobuf";
import { type Schedule, ScheduleSchema, type ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";

/** Which schedules to list. */
export interface ScheduleQuery {
  readonly workspaceId: string;
  /** Keeps only these; empty keeps all. */
  readonly statuses: readonly ScheduleStatus[];
  readonly page: Page;
}

interface ScheduleRow {
  create_position: bigint;
  resource: Uint8Array;
}

// Inputs can be long: 200 schedules may be more than an answer should hold.
const pageBytes = 2 * 1024 * 1024;
const newest = 2n ** 63n - 1n;

// One row more than asked for tells whether another page follows.
const listText =
  "select create_position, resource from schedules " +
  "where workspace_id = $1 and create_position < $2 and (cardinality($3::smallint[]) = 0 or status = any($3)) " +
  "order by create_position desc limit $4";

/** A page of schedules, newest first, and the token of the next page; empty when this is the last. */
export async function listSchedules(
  db: Db,
  { workspaceId, statuses, page }: ScheduleQuery,
): Promise<{ schedules: Schedule[]; nextPageToken: string }> {
  const { rows } = await db.query<ScheduleRow>({
    name: "schedules_list",
    text: listText,
    values: [workspaceId, page.after ?? newest, statuses, page.size + 1],
  });
  const shown = cut(rows.slice(0, page.size));
  const last = shown.at(-1);
  return {
    schedules: shown.map(({ resource }) => fromBinary(ScheduleSchema, resource)),
    nextPageToken: last !== undefined && rows.length > shown.length ? page.tokenAfter(last.create_position) : "",
  };
}

/** The first rows that fit into a page; at least one, however large. */
function cut(rows: readonly ScheduleRow[]): readonly ScheduleRow[] {
  let bytes = 0;
  const end = rows.findIndex(({ resource }, index) => (bytes += resource.length) > pageBytes && index > 0);
  return end === -1 ? rows : rows.slice(0, end);
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
