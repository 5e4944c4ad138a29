import { fromBinary } from "@bufbuild/protobuf";
import type { QueryResultRow } from "pg";
import {
  type PipelineItem,
  PipelineItemSchema,
  PipelineStageKind,
} from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { readSnapshot } from "../readmodel/snapshot.ts";

/** What to show of the board. */
export interface BoardQuery {
  readonly workspaceId: string;
  /** Empty for any. */
  readonly roomId: string;
  /** Runs that ended before are left out. */
  readonly endedAfter: Date;
  /** The most items of each stage. */
  readonly limit: number;
}

/** The board as it was at one position of the log. */
export interface Board {
  readonly position: bigint;
  readonly openIncidents: bigint;
  /** How many runs each stage holds; a stage that is left out has none. */
  readonly counts: ReadonlyMap<PipelineStageKind, bigint>;
  /** Open runs oldest first, ended ones newest first; a stage that is left out has none. */
  readonly items: ReadonlyMap<PipelineStageKind, PipelineItem[]>;
}

const { INBOX, QUEUED, RUNNING, NEEDS_DECISION, DONE, FAILED } = PipelineStageKind;
const openStages = [INBOX, QUEUED, RUNNING, NEEDS_DECISION];
const endedStages = [DONE, FAILED];

const incidentsText = `
select count(*) as count from incidents where workspace_id = $1 and status < 3 and ($2 = '' or room_id = $2)`;

const countText = `
select stage, count(*) as count from runs
where workspace_id = $1 and stage < 5 and ($2 = '' or room_id = $2)
group by stage
union all
select stage, count(*) from runs
where workspace_id = $1 and stage >= 5 and end_time >= $3 and ($2 = '' or room_id = $2)
group by stage`;

// Stage by stage, so that each is read along its index and no further than its limit.
const itemText = `
select wanted.stage, found.item from unnest($4::smallint[]) as wanted(stage)
cross join lateral (
  select item, create_position from runs
  where workspace_id = $1 and stage < 5 and stage = wanted.stage and ($2 = '' or room_id = $2)
  order by create_position limit $3
) as found
order by wanted.stage, found.create_position`;

const endedItemText = `
select wanted.stage, found.item from unnest($4::smallint[]) as wanted(stage)
cross join lateral (
  select item, end_time, create_position from runs
  where workspace_id = $1 and stage >= 5 and stage = wanted.stage and end_time >= $5 and ($2 = '' or room_id = $2)
  order by end_time desc limit $3
) as found
order by wanted.stage, found.end_time desc, found.create_position desc`;

interface ItemRow {
  readonly stage: PipelineStageKind;
  readonly item: Uint8Array;
}

/** Reads the board in one snapshot of the tables, together with the position that they have reached. */
export async function readBoard(postgres: Postgres, query: BoardQuery): Promise<Board> {
  const { workspaceId, roomId, endedAfter, limit } = query;
  const scope = [workspaceId, roomId];
  return readSnapshot(postgres, async ({ db, position }) => {
    const read = async <Row extends QueryResultRow>(name: string, text: string, ...values: unknown[]) =>
      (await db.query<Row>({ name: `pipeline_${name}`, text, values: [...scope, ...values] })).rows;
    const [incidents] = await read<{ count: bigint }>("incidents", incidentsText);
    const counts = await read<{ stage: PipelineStageKind; count: bigint }>("counts", countText, endedAfter);
    const open = await read<ItemRow>("open", itemText, limit, openStages);
    const ended = await read<ItemRow>("ended", endedItemText, limit, endedStages, endedAfter);
    return {
      position,
      openIncidents: incidents?.count ?? 0n,
      counts: new Map(counts.map(({ stage, count }) => [stage, count])),
      items: itemsByStage([...open, ...ended]),
    };
  });
}

function itemsByStage(rows: readonly ItemRow[]): Map<PipelineStageKind, PipelineItem[]> {
  const items = new Map<PipelineStageKind, PipelineItem[]>();
  for (const { stage, item } of rows) {
    const column = items.get(stage) ?? [];
    items.set(stage, column);
    column.push(fromBinary(PipelineItemSchema, item));
  }
  return items;
}
