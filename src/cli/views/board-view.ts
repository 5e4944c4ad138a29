import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type GetSnapshotResponse,
  type PipelineItem,
  type PipelineStage,
  PipelineStageKindSchema,
} from "../../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PauseReason, PauseReasonSchema, RunEndReasonSchema, RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { durationText, shorten } from "./values.ts";

const gap = "  ";
/** A column holds the end of an id and how long ago. */
const minWidth = 14;

/**
 * The six stages beside each other in `columns` characters, each run in two lines: what it is, and the end of its id with how
 * long it has been there.
 */
export function boardView(snapshot: GetSnapshotResponse, columns: number, nowMs: number): string {
  const { stages, position, openIncidentCount } = snapshot;
  const count = Math.max(1, stages.length);
  const width = Math.max(minWidth, Math.floor((columns - gap.length * (count - 1)) / count));
  const cells = stages.map((stage) => stageLines(stage, width, nowMs));
  const height = Math.max(0, ...cells.map((lines) => lines.length));
  const lines = Array.from({ length: height }, (_, row) =>
    cells
      .map((column) => (column[row] ?? "").padEnd(width))
      .join(gap)
      .trimEnd(),
  );
  const incidents = openIncidentCount === 0n ? "" : `, ${openIncidentCount} incidents are open`;
  return [...lines, "", `position ${position}${incidents}`].join("\n");
}

function stageLines({ kind, count, items, truncated }: PipelineStage, width: number, nowMs: number): string[] {
  const title = shorten(`${enumName(PipelineStageKindSchema, kind).replaceAll("_", " ")} ${count}`, width);
  const more = truncated ? [`… ${count - BigInt(items.length)} more`] : [];
  return [title, "-".repeat(width), ...items.flatMap((item) => itemLines(item, width, nowMs)), ...more];
}

function itemLines(item: PipelineItem, width: number, nowMs: number): string[] {
  const { runId, handler, agentId, updateTime } = item;
  const what = [handler, noteOf(item)].filter((text) => text !== "").join(" ");
  const age = ageText(updateTime, nowMs);
  return [shorten(what || agentId, width), shorten(`…${runId.slice(-6)} ${age}`.trimEnd(), width)];
}

/** What somebody has to know at once: why it ended badly, stands still, or what it waits for. */
function noteOf({ status, endReason, pauseReason, approvalIds }: PipelineItem): string {
  if (status === RunStatus.FAILED) return enumName(RunEndReasonSchema, endReason);
  if (pauseReason !== PauseReason.UNSPECIFIED) return enumName(PauseReasonSchema, pauseReason);
  return approvalIds.length === 0 ? "" : `${approvalIds.length} to approve`;
}

/** Minutes at most: a board is no stopwatch. */
function ageText(since: Timestamp | undefined, nowMs: number): string {
  if (since === undefined) return "";
  const ms = Math.max(0, nowMs - timestampMs(since));
  if (ms < 60_000) return durationText(Math.floor(ms / 1_000) * 1_000).replace(".0 s", " s");
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}
