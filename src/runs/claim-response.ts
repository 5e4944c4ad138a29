import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClaimRunResponseSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { StepStatus, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Loaded } from "../eventlog/aggregates.ts";
import type { RunRecord } from "./run-record.ts";
import type { RunState } from "./state.ts";

/** An answer to ClaimRun; empty when there was no run. */
export type ClaimAnswer = MessageInitShape<typeof ClaimRunResponseSchema>;

/** Recorded steps sent along with a claim, in bytes. */
const recordedStepsBytes = 2 * 1024 * 1024;

/** What a worker gets with a lease: the run, the token, and what earlier attempts left on record. */
export async function claimResponse(
  record: RunRecord,
  { state, position, subject = "" }: Loaded<RunState>,
  leaseToken: string,
  leaseTtlMs: number,
): Promise<ClaimAnswer> {
  if (state.status === "absent") return {};
  const hasSteps = [...state.steps.values()].some(({ step }) => step.status === StepStatus.COMPLETED);
  const { steps, complete } = hasSteps
    ? await record.completedSteps(subject, position, recordedStepsBytes)
    : { steps: [], complete: true };
  const unknown = [...state.toolCalls.values()].filter(({ toolCall }) => toolCall.status === ToolCallStatus.UNKNOWN);
  return {
    run: state.run,
    leaseToken,
    leaseExpireTime: state.run.leaseExpireTime,
    leaseTtl: durationFromMs(leaseTtlMs),
    recordedSteps: steps,
    recordedStepsComplete: complete,
    unknownToolCalls: await Promise.all(
      unknown.map(async (head) => ({
        ...head.toolCall,
        arguments: await record.toolCallArguments(subject, head),
      })),
    ),
    position,
  };
}
