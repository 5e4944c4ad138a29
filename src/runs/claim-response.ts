import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ClaimRunResponseSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Step, type ToolCall, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Loaded } from "../eventlog/aggregates.ts";
import type { RunRecord, Said } from "./run-record.ts";
import type { LiveRun, RunState, StepHead, ToolCallHead } from "./state.ts";

/** An answer to ClaimRun; empty when there was no run. */
export type ClaimAnswer = MessageInitShape<typeof ClaimRunResponseSchema>;

/** Outputs, results and messages sent along with a claim, in bytes: with the run's input, less than the 4 MiB that gRPC clients take. */
const recordedBytes = 2 * 1024 * 1024;

const nothingSaid: Said = { values: new Map(), messages: [] };

/** What a worker gets with a lease: the run, the token, and what earlier attempts left on record. */
export async function claimResponse(
  record: RunRecord,
  { state, position, subject = "" }: Loaded<RunState>,
  lease: { readonly token: string; readonly ttlMs: number },
  now: Date,
): Promise<ClaimAnswer> {
  if (state.status === "absent") return {};
  const said = hasSaid(state) ? await record.said(subject, position, recordedBytes) : nothingSaid;
  const steps = [...state.steps.values()].map((head) => withOutput(head, said));
  const calls = [...state.toolCalls.values()];
  const unknown = calls.filter(({ toolCall }) => toolCall.status === ToolCallStatus.UNKNOWN);
  return {
    run: state.run,
    leaseToken: lease.token,
    leaseExpireTime: state.run.leaseExpireTime,
    leaseTtl: durationFromMs(lease.ttlMs),
    recordedSteps: steps,
    recordedStepsComplete: steps.every(({ outputOmitted }) => !outputOmitted),
    unknownToolCalls: await Promise.all(
      unknown.map(async (head) => ({ ...head.toolCall, arguments: await record.toolCallArguments(subject, head) })),
    ),
    position,
    recordedToolCalls: calls.map((head) => withResult(head, said)),
    messages: [...said.messages],
    messagesComplete: said.messages.length === state.messages.count,
    serverTime: timestampFromDate(now),
  };
}

/** True when there is something on record that the state does not hold. */
function hasSaid({ steps, toolCalls, messages }: LiveRun): boolean {
  if (messages.count > 0) return true;
  for (const { outputDigest } of steps.values()) if (outputDigest) return true;
  for (const { resultDigest } of toolCalls.values()) if (resultDigest) return true;
  return false;
}

function withOutput({ step, outputDigest }: StepHead, { values }: Said): Step {
  if (outputDigest === undefined) return step;
  return { ...step, output: values.get(step.stepId), outputOmitted: !values.has(step.stepId) };
}

function withResult({ toolCall, resultDigest }: ToolCallHead, { values }: Said): ToolCall {
  if (resultDigest === undefined) return toolCall;
  const { toolCallId } = toolCall;
  return { ...toolCall, result: values.get(toolCallId), resultOmitted: !values.has(toolCallId) };
}
