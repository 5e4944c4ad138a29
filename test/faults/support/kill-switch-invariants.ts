import { type StoppedWrite, KillSwitchScope } from "../../../gen/signalbox/v1/policy_pb.ts";
import { ToolCallStatus, ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import type { LogEvent, Violation } from "../../support/invariants.ts";

/** A start of an external write that a worker was told of: now it writes. */
export interface Told {
  readonly workspaceId: string;
  readonly toolCallId: string;
  /** Where the start stands in the log. */
  readonly position: bigint;
}

/** What a report has to say of one write. */
export type Reported = Pick<StoppedWrite, "runId" | "toolCallId" | "underWay" | "status" | "position">;

/** An external write as its events say. */
interface Write {
  readonly workspaceId: string;
  readonly runId: string;
  status: ToolCallStatus;
  startPosition: bigint;
  /** When its last start ended; 0 while it has not. */
  endPosition: bigint;
  /** When a switch has held it back last; 0 for never. */
  stopPosition: bigint;
  /** True while it has started behind a flip, and nobody has taken that back. */
  late: boolean;
}

/**
 * The law of the kill switch over a whole log and what workers were told: none is told to go with a start behind a flip, and
 * every such start is taken back before anything comes of it.
 */
export function checkKillSwitches(log: readonly LogEvent[], told: readonly Told[]): Violation[] {
  const { violations, lateStarts } = foldWrites(log);
  const tales = told.flatMap(({ workspaceId, toolCallId, position }) =>
    lateStarts.has(`${workspaceId}/${toolCallId}/${position}`)
      ? [{ invariant: "kill switch", at: `${toolCallId} at ${position}`, problem: "its worker was told to go" }]
      : [],
  );
  return [...violations, ...tales];
}

/** What GetKillSwitch has to say of a workspace about the flip, by position, when the log ends here. */
export function expectedReport(log: readonly LogEvent[], workspaceId: string, flip: bigint): Reported[] {
  return [...foldWrites(log).writes]
    .flatMap(([toolCallId, write]) => {
      if (write.workspaceId !== workspaceId) return [];
      const { runId, status, startPosition, endPosition, stopPosition } = write;
      if (stopPosition > flip) return [{ runId, toolCallId, status, underWay: false, position: stopPosition }];
      const wasOpen = startPosition > 0n && (endPosition === 0n || endPosition > flip);
      if (startPosition > flip || !wasOpen) return [];
      return [{ runId, toolCallId, status, underWay: true, position: startPosition }];
    })
    .toSorted((a, b) => (a.position < b.position ? -1 : 1));
}

function foldWrites(log: readonly LogEvent[]) {
  const violations: Violation[] = [];
  const writes = new Map<string, Write>();
  const lateStarts = new Set<string>();
  /** The workspaces whose own switch is on. */
  const stopped = new Set<string>();
  let allStopped = false;
  for (const { event, position, name } of log) {
    const { payload, workspaceId } = event;
    if (payload.case === "killSwitchFlipped") {
      const { scope, on } = payload.value;
      if (scope === KillSwitchScope.INSTALLATION) allStopped = on;
      else if (on) stopped.add(workspaceId);
      else stopped.delete(workspaceId);
      continue;
    }
    const call = toolCallOf(payload);
    if (call === undefined || event.stream?.type !== "run") continue;
    const { toolCallId } = call;
    const asks = payload.case === "toolCallStarted" || payload.case === "toolCallGated";
    const write = writes.get(toolCallId) ?? newWrite(workspaceId, event.stream.id);
    if (asks && payload.value.effect === ToolEffect.EXTERNAL_WRITE) writes.set(toolCallId, write);
    if (!writes.has(toolCallId)) continue;
    if (payload.case === "toolCallStarted") {
      const late = allStopped || stopped.has(workspaceId);
      Object.assign(write, { status: ToolCallStatus.STARTED, startPosition: position, endPosition: 0n, late });
      if (late) lateStarts.add(`${workspaceId}/${toolCallId}/${position}`);
    } else if (payload.case === "toolCallGated") {
      const stopPosition = payload.value.approvalId === "" ? position : write.stopPosition;
      // A start that is taken back has ended by that.
      const endPosition = write.endPosition || position;
      Object.assign(write, { status: ToolCallStatus.GATED, stopPosition, endPosition, late: false });
    } else {
      if (write.late) violations.push({ invariant: "kill switch", at: name, problem: "it started behind a flip" });
      write.endPosition = position;
      write.status = payload.case === "toolCallSucceeded" ? ToolCallStatus.SUCCEEDED : ToolCallStatus.FAILED;
    }
  }
  return { violations, writes, lateStarts };
}

/** What happens to a tool call in the histories that this is for; nothing else may. */
function toolCallOf(payload: LogEvent["event"]["payload"]): { readonly toolCallId: string } | undefined {
  const { case: kind } = payload;
  const isOfCall =
    kind === "toolCallStarted" || kind === "toolCallGated" || kind === "toolCallSucceeded" || kind === "toolCallFailed";
  return isOfCall ? payload.value : undefined;
}

function newWrite(workspaceId: string, runId: string): Write {
  return {
    workspaceId,
    runId,
    status: ToolCallStatus.UNSPECIFIED,
    startPosition: 0n,
    endPosition: 0n,
    stopPosition: 0n,
    late: false,
  };
}
