import {
  type Run,
  RunEndReasonSchema,
  RunStatusSchema,
  type Step,
  StepStatusSchema,
} from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { errorText, labelsText, principalText, shorten, shortJson, timeText, tookText } from "./values.ts";

/** Runs below each other, one line each. */
export function runTable(runs: readonly Run[]): string {
  return table(
    ["RUN", "STATUS", "HANDLER", "ATTEMPT", "CREATED", "TOOK", "LABELS"],
    runs.map((run) => [
      run.runId,
      enumName(RunStatusSchema, run.status),
      run.handler,
      String(run.attempt),
      timeText(run.createTime),
      tookText(run.createTime, run.endTime),
      shorten(labelsText(run.labels), 60),
    ]),
  );
}

/** Everything that people want to know about a run. */
export function runView(run: Run): string {
  const ended = run.endTime === undefined ? "" : ` (${enumName(RunEndReasonSchema, run.endReason)})`;
  return fields([
    ["run", run.runId],
    ["status", `${enumName(RunStatusSchema, run.status)}${ended}`],
    ["handler", run.handler],
    ["agent", run.agentId],
    ["room", run.roomId],
    ["queue", run.queue],
    ["labels", labelsText(run.labels)],
    ["attempt", run.failedAttempts === 0 ? String(run.attempt) : `${run.attempt}, ${run.failedAttempts} failed`],
    ["worker", run.workerId],
    ["input", shortJson(run.input, 2_000)],
    ["output", shortJson(run.output, 2_000)],
    ["error", errorText(run.error, 2_000)],
    ["created", `${timeText(run.createTime)} by ${principalText(run.createBy)}`],
    ["available", timeText(run.availableTime)],
    ["started", timeText(run.startTime)],
    ["ended", timeText(run.endTime)],
    ["took", tookText(run.createTime, run.endTime)],
    ["deadline", timeText(run.deadlineTime)],
    ["usage", usageText(run)],
    ["position", String(run.position)],
  ]);
}

/** Steps below each other, one line each. */
export function stepTable(steps: readonly Step[]): string {
  return table(
    ["STEP", "STATUS", "ATTEMPT", "TOOK", "RESULT"],
    steps.map((step) => [
      shorten(step.name, 60),
      enumName(StepStatusSchema, step.status),
      String(step.attempt),
      tookText(step.startTime, step.endTime),
      errorText(step.error, 100) || shortJson(step.output, 100),
    ]),
  );
}

function usageText({ usage }: Run): string {
  const counts = [
    [usage?.toolCalls, "tool calls"],
    [usage?.inputTokens, "tokens read"],
    [usage?.outputTokens, "tokens written"],
  ] as const;
  return counts
    .filter(([count]) => count !== undefined && count > 0n)
    .map(([count, what]) => `${count} ${what}`)
    .join(", ");
}
