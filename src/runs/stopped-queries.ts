import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type StoppedWrite, StoppedWriteSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { type RunStatus, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";

/** A page of the external writes that a kill switch has met. */
export interface StoppedWrites {
  readonly stopped: StoppedWrite[];
  /** Empty when this is the last page. */
  readonly nextPageToken: string;
  /** On all pages. */
  readonly stoppedCount: bigint;
}

// Held back since the flip, a step that asks for an approval as well, or started before it and not ended then. What has started since the switch is off again stays in the report.
const met = `
select tool_call_id, '' as step_id, run_id, tool, status, stop_position <= $2 as under_way,
  case when stop_position > $2 then stop_position else start_position end as place
from tool_calls
where workspace_id = $1 and effect = 3 and (
  stop_position > $2
  or start_position > 0 and start_position < $2 and (end_position = 0 or end_position > $2)
)
union all
select '', step_id, run_id, name, ${ToolCallStatus.GATED}, false, stop_position
from steps
where workspace_id = $1 and stop_position > 0 and stop_position > $2`;

const listText = `
select met.*, runs.status as run_status, events.create_time
from (${met}) as met
join runs on runs.workspace_id = $1 and runs.run_id = met.run_id
join events on events.position = met.place
where place > $3
order by place
limit $4`;

const countText = `select count(*) as count from (${met}) as met`;

interface Row {
  tool_call_id: string;
  step_id: string;
  run_id: string;
  tool: string;
  status: ToolCallStatus;
  under_way: boolean;
  place: bigint;
  run_status: RunStatus;
  create_time: Date;
}

/** What a kill switch that was switched on at position `flip` has met in a workspace, by position. */
export async function listStopped(db: Db, workspaceId: string, flip: bigint, page: Page): Promise<StoppedWrites> {
  const [{ rows }, { rows: counts }] = await Promise.all([
    db.query<Row>({
      name: "tool_calls_stopped",
      text: listText,
      values: [workspaceId, flip, page.after ?? 0n, page.size + 1],
    }),
    db.query<{ count: bigint }>({ name: "tool_calls_stopped_count", text: countText, values: [workspaceId, flip] }),
  ]);
  // One row more than asked for tells whether another page follows.
  const shown = rows.slice(0, page.size);
  const last = shown.at(-1);
  return {
    stopped: shown.map(stoppedWrite),
    nextPageToken: last && rows.length > shown.length ? page.tokenAfter(last.place) : "",
    stoppedCount: counts[0]?.count ?? 0n,
  };
}

function stoppedWrite(row: Row): StoppedWrite {
  return create(StoppedWriteSchema, {
    runId: row.run_id,
    toolCallId: row.tool_call_id,
    stepId: row.step_id,
    tool: row.tool,
    underWay: row.under_way,
    status: row.status,
    runStatus: row.run_status,
    stopTime: timestampFromDate(row.create_time),
    position: row.place,
  });
}
