import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs, timestampMs, type Value } from "@bufbuild/protobuf/wkt";
import type { StartStepRequest, StartToolCallRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  PauseReason,
  PauseSchema,
  type Run,
  type RunError,
  RunErrorSchema,
  type RunMessage,
  RunMessageSchema,
  type RunSchema,
  RunStatus,
  type Step,
  StepKind,
  StepSchema,
  StepStatus,
  type ToolCall,
  ToolCallSchema,
  ToolCallStatus,
  ToolEffect,
  type WakeCondition,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { FakeGate } from "./fake-gate.ts";
import { addUsage } from "../../src/runs/resource.ts";
import { type Reason, SignalboxError, toConnectError } from "../../src/kernel/errors.ts";

/** The clock and the log of the fake. */
export interface FakeLog {
  nowMs(): number;
  /** The place of the next event. */
  next(): bigint;
}

/** A run of the fake, with everything that was recorded for it. */
export interface FakeRun {
  run: Run;
  leaseToken: string;
  /** By key, in the order of their first start. */
  readonly steps: Map<string, Step>;
  readonly toolCalls: Map<string, ToolCall>;
  readonly messages: RunMessage[];
  readonly endedChildren: Set<string>;
  /** What stands between the run and the outside. */
  readonly gate: FakeGate;
  /** What a waiting run waits for. */
  conditions: readonly WakeCondition[];
}

const terminal: readonly RunStatus[] = [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED];

export const isOpen = ({ run }: FakeRun): boolean => !terminal.includes(run.status);

/** The error that the server answers with. */
export function refusal(reason: Reason, message: string, metadata: Record<string, string> = {}): Error {
  return toConnectError(new SignalboxError(reason, message, metadata));
}

/** step.started; nothing when it runs or is completed already. */
export function startStep(log: FakeLog, own: FakeRun, request: StartStepRequest): Step {
  const { key, name, input, kind, sequence, delay, wakeTime, childRunId, threadId } = request;
  const earlier = own.steps.get(key);
  if (earlier?.status === StepStatus.RUNNING || earlier?.status === StepStatus.COMPLETED) return earlier;
  if (earlier === undefined) requireStarts(own);
  own.run = { ...own.run, usage: addUsage(own.run.usage, undefined, { steps: 1n }) };
  const position = log.next();
  const step = create(StepSchema, {
    stepId: `step_${key}`,
    runId: own.run.runId,
    key,
    name: name || key,
    input,
    sequence,
    childRunId,
    threadId,
    kind: kind || StepKind.FUNCTION,
    status: StepStatus.RUNNING,
    attempt: (earlier?.attempt ?? 0) + 1,
    startTime: timestampFromMs(log.nowMs()),
    startPosition: earlier?.startPosition ?? position,
    position,
    usage: earlier?.usage,
    wakeTime: earlier?.wakeTime ?? wakeTime ?? (delay && timestampFromMs(log.nowMs() + durationMs(delay))),
  });
  own.steps.set(key, step);
  return step;
}

/** step.completed or step.failed; nothing when it has ended so already. */
export function endStep(
  log: FakeLog,
  own: FakeRun,
  stepId: string,
  result: {
    output?: Value | undefined;
    outputArtifactId?: string;
    error?: RunError | undefined;
    usage?: Run["usage"];
  },
): Step {
  const step = byId([...own.steps.values()], (item) => item.stepId === stepId);
  if (step.status !== StepStatus.RUNNING) return step;
  const { output, outputArtifactId = "", error, usage } = result;
  own.run = { ...own.run, usage: addUsage(own.run.usage, usage) };
  const status = error === undefined ? StepStatus.COMPLETED : StepStatus.FAILED;
  const all = { status, output, outputArtifactId, error, usage: addUsage(step.usage, usage) };
  return Object.assign(step, all, ended(log));
}

/** tool_call.started; nothing when it is under way or its result is on record. */
export function startToolCall(log: FakeLog, own: FakeRun, request: StartToolCallRequest): ToolCall {
  const { leaseToken: _lease, $typeName: _type, $unknown: _unknown, ...init } = request;
  const earlier = own.toolCalls.get(request.key);
  const hadNoEffect = earlier?.status === ToolCallStatus.RECONCILED && earlier.result === undefined;
  if (earlier?.status === ToolCallStatus.UNKNOWN) throw refusal("INVALID_STATE", "the outcome is unknown");
  const isGated = earlier?.status === ToolCallStatus.GATED || earlier?.status === ToolCallStatus.DENIED;
  if (earlier && earlier.status !== ToolCallStatus.FAILED && !hadNoEffect && !isGated) return earlier;
  if (earlier === undefined) requireStarts(own);
  const approved = own.gate.pass(own, request, earlier);
  own.run = { ...own.run, usage: addUsage(own.run.usage, undefined, { toolCalls: 1n }) };
  const position = log.next();
  const call = create(ToolCallSchema, {
    ...init,
    ...approved,
    toolCallId: `tc_${request.key}`,
    runId: own.run.runId,
    status: ToolCallStatus.STARTED,
    attempt: (earlier?.attempt ?? 0) + 1,
    startTime: timestampFromMs(log.nowMs()),
    startPosition: earlier?.startPosition || position,
    requestPosition: earlier?.requestPosition ?? position,
    position,
  });
  own.toolCalls.set(request.key, call);
  return call;
}

/** tool_call.succeeded, .failed or .reconciled. */
export function endToolCall(log: FakeLog, own: FakeRun, toolCallId: string, change: Partial<ToolCall>): ToolCall {
  const call = byId([...own.toolCalls.values()], (item) => item.toolCallId === toolCallId);
  const wanted = change.status === ToolCallStatus.RECONCILED ? ToolCallStatus.UNKNOWN : ToolCallStatus.STARTED;
  return call.status === wanted ? Object.assign(call, { ...change, ...ended(log) }) : call;
}

/** The end of the lease, with what it leaves behind. */
export function endLease(log: FakeLog, own: FakeRun, change: MessageInitShape<typeof RunSchema>): Run {
  const end = ended(log);
  for (const step of own.steps.values()) {
    if (step.status === StepStatus.RUNNING) Object.assign(step, { status: StepStatus.ABANDONED, ...end });
  }
  for (const call of own.toolCalls.values()) {
    if (call.status !== ToolCallStatus.STARTED) continue;
    if (!call.idempotent && call.effect !== ToolEffect.READ) {
      Object.assign(call, { status: ToolCallStatus.UNKNOWN, ...end });
      continue;
    }
    const error = create(RunErrorSchema, { code: "LEASE_ENDED", message: "the lease ended first", retryable: true });
    Object.assign(call, { status: ToolCallStatus.FAILED, error, ...end });
  }
  own.conditions = [];
  own.run = { ...own.run, pauseRequested: false, ...(change as Partial<Run>) };
  return own.run;
}

/** The places of the conditions that hold already. */
export function holding(log: FakeLog, own: FakeRun, conditions: readonly WakeCondition[]): number[] {
  return conditions.flatMap((condition, index) => (holds(log, own, condition) ? [index] : []));
}

function holds(log: FakeLog, { endedChildren, messages, gate }: FakeRun, { condition }: WakeCondition): boolean {
  if (condition.case === "time") return timestampMs(condition.value) <= log.nowMs();
  if (condition.case === "children") return condition.value.runIds.every((id) => endedChildren.has(id));
  if (condition.case === "approval") return gate.isDecided(condition.value.approvalId);
  if (condition.case !== "message") return false;
  const { threadId, afterNumber } = condition.value;
  return messages.filter((message) => message.threadId === threadId).length > afterNumber;
}

/** run.message_received. */
export function addMessage(log: FakeLog, own: FakeRun, threadId: string, content: Value): void {
  const number = own.messages.filter((message) => message.threadId === threadId).length + 1;
  const messageId = `msg_${own.messages.length + 1}`;
  own.messages.push(create(RunMessageSchema, { messageId, threadId, number, content, position: log.next() }));
}

/** The limit of its budget that the run has reached. */
function usedUp({ run: { budget, usage } }: FakeRun): string | undefined {
  if (budget === undefined) return undefined;
  const tokens = (usage?.inputTokens ?? 0n) + (usage?.outputTokens ?? 0n);
  if (budget.maxTokens > 0n && tokens >= budget.maxTokens) return "max_tokens";
  if (budget.maxSteps > 0n && (usage?.steps ?? 0n) >= budget.maxSteps) return "max_steps";
  return budget.maxToolCalls > 0n && (usage?.toolCalls ?? 0n) >= budget.maxToolCalls ? "max_tool_calls" : undefined;
}

/** The run standing still, when it is to. */
export function pauseOf(own: FakeRun): MessageInitShape<typeof RunSchema> | undefined {
  const limit = usedUp(own);
  const reason = own.run.pauseRequested ? PauseReason.OPERATOR : PauseReason.BUDGET;
  if (!own.run.pauseRequested && limit === undefined) return undefined;
  return { status: RunStatus.PAUSED, pause: create(PauseSchema, { reason, note: limit ?? "" }) };
}

function requireStarts(own: FakeRun): void {
  if (own.run.pauseRequested) throw refusal("PAUSE_REQUESTED", "somebody asked the run to pause");
  const limit = usedUp(own);
  if (limit !== undefined) throw refusal("BUDGET_EXCEEDED", `the budget is used up (${limit})`, { limit });
}

function ended(log: FakeLog): Pick<Step, "position" | "endTime"> {
  return { position: log.next(), endTime: timestampFromMs(log.nowMs()) };
}

function byId<T>(items: readonly T[], matches: (item: T) => boolean): T {
  const found = items.find(matches);
  if (found === undefined) throw refusal("STEP_NOT_FOUND", "no such step or tool call");
  return found;
}
