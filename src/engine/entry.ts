import { timestampDate, type Value } from "@bufbuild/protobuf/wkt";
import {
  type RunError,
  type Step,
  StepKind,
  StepStatus,
  type ToolCall,
  ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import { type Command, type CommandKind, describeCommand } from "./command.ts";
import { HandlerError } from "./handler-error.ts";

/** How something on record ended. */
export interface End {
  /** Its place in the log: what ended first has the smaller one. */
  readonly position: bigint;
  readonly time: Date | undefined;
  readonly outcome:
    | { readonly ok: true; readonly output: Value | undefined }
    | { readonly ok: false; readonly error: RunError };
}

/** A step or a tool call as it is on record. */
export interface Entry {
  readonly command: Command;
  /** The id of the step or tool call. */
  readonly id: string;
  /** Where it was asked for first is in the log. */
  readonly askPosition: bigint;
  /** Undefined while it has not ended, and when its lease ended first. */
  readonly end: End | undefined;
  /** True when there is an output that has to be fetched: the claim had no room for it, or it is in an artifact. */
  readonly outputOmitted: boolean;
  /** The step; undefined for a tool call. */
  readonly step: Step | undefined;
  /** The tool call; undefined for a step. */
  readonly toolCall: ToolCall | undefined;
}

/** Something of which the handler is told the recorded end, and which is not done again. */
export interface EndedEntry extends Entry {
  readonly end: End;
}

const kinds: Partial<Record<StepKind, CommandKind>> = {
  [StepKind.FUNCTION]: "step",
  [StepKind.MODEL]: "model",
  [StepKind.SLEEP]: "sleep",
  [StepKind.RUN]: "run",
  [StepKind.MESSAGE]: "message",
  [StepKind.APPROVAL]: "approval",
  [StepKind.ARTIFACT]: "artifact",
};

/** A step of the record. */
export function entryOfStep(step: Step): Entry {
  const { sequence, key, stepId: id, startPosition: askPosition } = step;
  const outputOmitted = step.outputOmitted || step.outputArtifactId !== "";
  const command = { sequence, kind: kinds[step.kind] ?? "step", key };
  return { command, id, askPosition, end: endOfStep(step), outputOmitted, step, toolCall: undefined };
}

/** A tool call of the record. */
export function entryOfToolCall(toolCall: ToolCall): Entry {
  const { sequence, key, toolCallId: id, requestPosition, startPosition, resultOmitted: outputOmitted } = toolCall;
  const command = { sequence, kind: "tool" as const, key };
  // Servers before the gate have no place of the request: it was that of the start.
  const askPosition = requestPosition || startPosition;
  return { command, id, askPosition, end: endOfToolCall(toolCall), outputOmitted, step: undefined, toolCall };
}

/** How an entry ended. Throws a HandlerError when the server says that it has not. */
export function endOf({ command, end }: Entry): End {
  if (end !== undefined) return end;
  throw new HandlerError("BAD_ANSWER", `the server has not ended ${describeCommand(command)}`);
}

function endOfStep({ kind, status, position, endTime, output, error }: Step): End | undefined {
  const time = endTime && timestampDate(endTime);
  // What a kill switch has stopped goes on when the run does.
  if (kind === StepKind.APPROVAL && error?.code === "KILL_SWITCH_ON") return undefined;
  if (status === StepStatus.COMPLETED) return { position, time, outcome: { ok: true, output } };
  return status === StepStatus.FAILED && error ? { position, time, outcome: { ok: false, error } } : undefined;
}

function endOfToolCall({ status, position, endTime, result, error, resultOmitted }: ToolCall): End | undefined {
  // Whoever was refused heard of it by an error, which has no time to go by.
  if (status === ToolCallStatus.DENIED && error) return { position, time: undefined, outcome: { ok: false, error } };
  const time = endTime && timestampDate(endTime);
  // Reconciled without a result it had no effect, and is made again.
  const tookEffect = status === ToolCallStatus.RECONCILED && (result !== undefined || resultOmitted);
  if (status === ToolCallStatus.SUCCEEDED || tookEffect)
    return { position, time, outcome: { ok: true, output: result } };
  return status === ToolCallStatus.FAILED && error ? { position, time, outcome: { ok: false, error } } : undefined;
}
