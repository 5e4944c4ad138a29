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
/** A column holds the name of each stage, and the end of an id with how long ago. */
const minWidth = 16;

/**
 * The six stages beside each other in `columns` characters, each run in two lines: what it is, and the end of its id with how
 * long it has been there. Below each other, each run in one line, where `columns` are too few for that.
 */
export function boardView(snapshot: GetSnapshotResponse, columns: number, nowMs: number): string {
  const { stages, position, openIncidentCount } = snapshot;
  const count = Math.max(1, stages.length);
  const width = Math.floor((columns - gap.length * (count - 1)) / count);
  const lines = width < minWidth ? below(stages, columns, nowMs) : beside(stages, width, nowMs);
  const incidents = openIncidentCount === 0n ? "" : `, ${openIncidentCount} incidents are open`;
  return [...lines, "", `position ${position}${incidents}`].join("\n");
}

function beside(stages: readonly PipelineStage[], width: number, nowMs: number): string[] {
  const cells = stages.map((stage) => [
    shorten(titleOf(stage), width),
    "-".repeat(width),
    ...stage.items.flatMap((item) => itemTexts(item, nowMs)).map((text) => shorten(text, width)),
    ...moreOf(stage),
  ]);
  const height = Math.max(0, ...cells.map((lines) => lines.length));
  return Array.from({ length: height }, (_, row) =>
    cells
      .map((column) => (column[row] ?? "").padEnd(width))
      .join(gap)
      .trimEnd(),
  );
}

function below(stages: readonly PipelineStage[], columns: number, nowMs: number): string[] {
  return stages.flatMap((stage) => [
    titleOf(stage),
    ...stage.items.map((item) => shorten(gap + itemTexts(item, nowMs).toReversed().join(gap), columns)),
    ...moreOf(stage).map((text) => gap + text),
  ]);
}

function titleOf({ kind, count }: PipelineStage): string {
  return `${enumName(PipelineStageKindSchema, kind).replaceAll("_", " ")} ${count}`;
}

function moreOf({ count, items, truncated }: PipelineStage): string[] {
  return truncated ? [`… ${count - BigInt(items.length)} more`] : [];
}

/** What the run is, and which one it is since when. */
function itemTexts(item: PipelineItem, nowMs: number): [what: string, which: string] {
  const { runId, handler, agentId, updateTime } = item;
  const what = [handler, noteOf(item)].filter((text) => text !== "").join(" ");
  return [what || agentId, `…${runId.slice(-6)} ${ageText(updateTime, nowMs)}`.trimEnd()];
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
