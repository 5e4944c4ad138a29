import { PauseReason, PauseReasonSchema, type Run, type WakeCondition } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { timeText } from "./values.ts";

/** What a run waits for: `2026-11-21 08:00:00Z, or a message`. */
export function conditionsText(conditions: readonly WakeCondition[]): string {
  return conditions.map(conditionText).join(", or ");
}

/** The approvals that a run waits for. */
export function approvalsAwaited(run: Pick<Run, "waitingOn">): string[] {
  const conditions = run.waitingOn?.conditions ?? [];
  return conditions.flatMap(({ condition }) => (condition.case === "approval" ? [condition.value.approvalId] : []));
}

/** What people have to do before a run goes on, a line for each, with the command that does it. */
export function stopsOf(run: Pick<Run, "runId" | "status" | "waitingOn" | "pause">): string[] {
  const { runId, pause } = run;
  if (pause === undefined) {
    return approvalsAwaited(run).map((id) => `${runId} waits for an approval: signalbox approvals show ${id}`);
  }
  const look = pause.reason === PauseReason.KILL_SWITCH ? "signalbox kill-switch status, then " : "";
  const why = [enumName(PauseReasonSchema, pause.reason), pause.note].filter((text) => text !== "").join(": ");
  return [`${runId} is paused (${why}): ${look}signalbox runs resume ${runId}`];
}

function conditionText({ condition }: WakeCondition): string {
  switch (condition.case) {
    case "time":
      return timeText(condition.value);
    case "children":
      return condition.value.runIds.length === 1
        ? (condition.value.runIds[0] ?? "")
        : `${condition.value.runIds.length} runs`;
    case "message":
      return condition.value.threadId === "" ? "a message" : `a message of ${condition.value.threadId}`;
    case "approval":
      return condition.value.approvalId;
    case undefined:
      return "something that this program does not know";
  }
}
