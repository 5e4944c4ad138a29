import {
  type Pause,
  PauseReasonSchema,
  type Run,
  RunEndReasonSchema,
  type RunMessage,
  RunStatusSchema,
  type Step,
  StepStatusSchema,
} from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { filesText } from "./artifact-view.ts";
import { budgetText, costText, isPositive, retryPolicyText, spanText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { errorText, labelsText, principalText, shorten, shortJson, timeText, tookText } from "./values.ts";
import { approvalsAwaited, conditionsText } from "./waiting.ts";

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
  return fields([
    ["run", run.runId],
    ["status", statusText(run)],
    ["waits for", run.waitingOn === undefined ? "" : conditionsText(run.waitingOn.conditions)],
    [
      "decide",
      approvalsAwaited(run)
        .map((approvalId) => `signalbox approvals show ${approvalId}`)
        .join("; "),
    ],
    ["paused", pauseText(run.pause)],
    ["handler", run.handler],
    ["agent", run.agentId],
    ["session", run.sessionId],
    ["room", run.roomId],
    ["parent", run.parentRunId === "" ? "" : `${run.parentRunId} (depth ${run.depth})`],
    ["base", run.baseRunId === "" ? "" : `${run.baseRunId} up to ${run.basePosition}`],
    ["queue", run.queue],
    ["priority", run.priority === 0 ? "" : String(run.priority)],
    ["key", run.concurrencyKey],
    ["labels", labelsText(run.labels)],
    ["attempt", run.failedAttempts === 0 ? String(run.attempt) : `${run.attempt}, ${run.failedAttempts} failed`],
    ["retry", retryPolicyText(run.retryPolicy)],
    ["worker", run.workerId],
    ["input", shortJson(run.input, 2_000)],
    ["output", shortJson(run.output, 2_000)],
    ["error", errorText(run.error, 2_000)],
    ["files", producedText(run)],
    ["created", `${timeText(run.createTime)} by ${principalText(run.createBy)}`],
    ["available", timeText(run.availableTime)],
    ["started", timeText(run.startTime)],
    ["ended", timeText(run.endTime)],
    ["took", tookText(run.createTime, run.endTime)],
    ["deadline", timeText(run.deadlineTime)],
    ["usage", usageText(run)],
    ["budget", budgetText(run.budget)],
    ["position", String(run.position)],
  ]);
}

/** Everything that people want to know about a message and the run that got it. */
export function messageView(message: RunMessage, run: Run | undefined): string {
  return fields([
    ["message", message.messageId],
    ["thread", message.threadId],
    ["number", String(message.number)],
    ["content", shortJson(message.content, 2_000)],
    ["run", run === undefined ? "" : `${run.runId} ${statusText(run)}`],
    ["position", String(message.position)],
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

function statusText(run: Run): string {
  const status = enumName(RunStatusSchema, run.status);
  if (run.endTime !== undefined) return `${status} (${enumName(RunEndReasonSchema, run.endReason)})`;
  return run.pauseRequested ? `${status}, asked to pause` : status;
}

function producedText({ runId, artifactSummary }: Run): string {
  const files = filesText(artifactSummary);
  return files === "" ? "" : `${files}: signalbox artifacts list --run ${runId}`;
}

function pauseText(pause: Pause | undefined): string {
  if (pause === undefined) return "";
  const { reason, note, pauseTime, pauseBy } = pause;
  const by = pauseBy === undefined ? "" : ` by ${principalText(pauseBy)}`;
  const why = [enumName(PauseReasonSchema, reason), note].filter((text) => text !== "").join(": ");
  return `${why}, since ${timeText(pauseTime)}${by}`;
}

function usageText({ usage, activeTime }: Run): string {
  const counts = [
    [usage?.steps, "steps"],
    [usage?.toolCalls, "tool calls"],
    [usage?.inputTokens, "tokens read"],
    [usage?.outputTokens, "tokens written"],
  ] as const;
  const consumed = counts
    .filter(([count]) => count !== undefined && count > 0n)
    .map(([count, what]) => `${count} ${what}`);
  if (usage !== undefined && usage.costMicros > 0n) consumed.push(`cost ${costText(usage.costMicros)}`);
  if (isPositive(activeTime)) consumed.push(`${spanText(activeTime)} with workers`);
  return consumed.join(", ");
}
