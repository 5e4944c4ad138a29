import { create } from "@bufbuild/protobuf";
import { timestampMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type Run,
  RunStatus,
  type Step,
  StepStatus,
  type ToolCall,
  ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import type { EventPayload } from "../eventlog/event-type.ts";
import { messageDigest } from "../kernel/digest.ts";
import { PersistentMap } from "../kernel/persistent-map.ts";
import { leaseEndOf } from "./lease-end.ts";
import { evolveMessages, type Messages, noMessages } from "./message.ts";
import { evolveRun } from "./resource.ts";
import { evolveArtifacts, noArtifacts, type RunArtifacts } from "./run-artifacts.ts";
import { evolveStep, stepIdsOf } from "./step.ts";
import { evolveStops } from "./stops.ts";
import { evolveToolCall, toolCallIdsOf } from "./tool-call.ts";

/** The lease under which a run is worked on. */
export interface Lease {
  readonly leaseId: string;
  /** The job message that was delivered for it. */
  readonly jobId: string;
  /** When it lapses if no heartbeat comes, as granted. Milliseconds since the epoch. */
  readonly expireTimeMs: number;
  /** The tool calls and steps that a kill switch holds back under it, with the epoch of the switch. */
  readonly stops: ReadonlyMap<string, bigint>;
}

/** A step without input and output, which can be large: `position` leads to them. */
export interface StepHead {
  readonly step: Step;
  /** SHA-256 of the recorded output; undefined until it is completed. */
  readonly outputDigest: Uint8Array | undefined;
}

/** A tool call without arguments and result, which can be large. */
export interface ToolCallHead {
  readonly toolCall: ToolCall;
  /** Position of the event that says its arguments: its last start, or the last time that it was held back. */
  readonly argumentsPosition: bigint;
  /** SHA-256, in hex, of the arguments that the worker asked for when it was held back first; empty when it never was. */
  readonly askedDigest: string;
  /** SHA-256 of the recorded result; undefined until it succeeded, or was reconciled as having taken effect. */
  readonly resultDigest: Uint8Array | undefined;
}

/** A run that exists. */
export interface LiveRun {
  readonly run: Run;
  /** SHA-256 of the creating request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
  /** Set while the run is running. */
  readonly lease: Lease | undefined;
  /** The lease that ended last, and the type of the event that ended it; a repeated command names it. */
  readonly endedLease: { readonly leaseId: string; readonly by: string } | undefined;
  /** Where in the log the run was last queued after a wait or a pause; 0 when it never was. Its older jobs are void. */
  readonly requeuePosition: bigint;
  readonly steps: PersistentMap<StepHead>;
  readonly toolCalls: PersistentMap<ToolCallHead>;
  /** How each child that has ended did so, by run id. */
  readonly endedChildren: PersistentMap<RunStatus>;
  /** The approvals that the run has asked for, by id: PENDING until it was told how they were decided. */
  readonly approvals: PersistentMap<ApprovalStatus>;
  readonly messages: Messages;
  /** What the run has produced. */
  readonly artifacts: RunArtifacts;
  /** Who asked the running run to pause, and why; undefined when nobody did. */
  readonly pauseRequest: { readonly note: string; readonly by: Principal | undefined } | undefined;
}

/** Where a run stands that can still change. */
export type OpenStatus = "queued" | "running" | "waiting" | "paused";

/** What decisions about a run rest on. */
export type RunState =
  | { readonly status: "absent" }
  | (LiveRun & { readonly status: OpenStatus | "succeeded" | "failed" | "canceled" });

/** Runs as aggregates. */
export const runAggregate: AggregateDefinition<RunState> = {
  type: "run",
  initial: { status: "absent" },
  evolve: evolveRunState,
  heldBytes,
};

/** Enough for what is kept of a step, a tool call or a message: names and digests. */
const headBytes = 2_048;

const heads: ReadonlySet<EventPayload["case"]> = new Set<EventPayload["case"]>([
  "stepStarted",
  "stepCompleted",
  "stepReused",
  "toolCallStarted",
  "toolCallSucceeded",
  "toolCallReused",
  "toolCallGated",
  "toolCallDenied",
  "runMessageReceived",
  "runArtifactAdded",
]);

/** What goes into steps and tool calls, comes out of them, and is said to the run, is left in the log. Pure. */
function heldBytes({ payload }: Event, sizeBytes: number): number {
  const isHead = payload.case !== undefined && heads.has(payload.case);
  return isHead ? Math.min(sizeBytes, headBytes) : sizeBytes;
}

/** The state after one more event. Pure. */
export function evolveRunState(state: RunState, event: Event): RunState {
  const { payload } = event;
  const before = state.status === "absent" ? undefined : state;
  const run = evolveRun(before?.run, event);
  if (run === undefined) return state;
  const end = leaseEndOf(event);
  return {
    status: statusOf(run),
    run,
    requestDigest:
      payload.case === "runCreated" ? payload.value.requestDigest : (before?.requestDigest ?? new Uint8Array()),
    lease: leaseAfter(before?.lease, event, run),
    endedLease: end ? { leaseId: end.leaseId, by: event.type } : before?.endedLease,
    requeuePosition: isRequeued(before?.status, run) ? event.position : (before?.requeuePosition ?? 0n),
    steps: evolveSteps(before?.steps ?? new PersistentMap(), event),
    toolCalls: evolveToolCalls(before?.toolCalls ?? new PersistentMap(), event),
    endedChildren: evolveChildren(before?.endedChildren ?? new PersistentMap(), event),
    approvals: evolveApprovals(before?.approvals ?? new PersistentMap(), event),
    messages: evolveMessages(before?.messages ?? noMessages, event),
    artifacts: evolveArtifacts(before?.artifacts ?? noArtifacts, event),
    pauseRequest: run.pauseRequested ? (requestOf(event) ?? before?.pauseRequest) : undefined,
  };
}

function statusOf(run: Run): Exclude<RunState["status"], "absent"> {
  switch (run.status) {
    case RunStatus.QUEUED:
      return "queued";
    case RunStatus.RUNNING:
      return "running";
    case RunStatus.SUCCEEDED:
      return "succeeded";
    case RunStatus.FAILED:
      return "failed";
    case RunStatus.CANCELED:
      return "canceled";
    case RunStatus.WAITING:
      return "waiting";
    case RunStatus.PAUSED:
      return "paused";
    case RunStatus.UNSPECIFIED:
    default:
      throw new Error(`run ${run.runId} has status ${run.status}, which this program does not know`);
  }
}

/** True when the run waited or was paused, and is queued now. */
function isRequeued(before: RunState["status"] | undefined, { status }: Run): boolean {
  return (before === "waiting" || before === "paused") && status === RunStatus.QUEUED;
}

function leaseAfter(lease: Lease | undefined, event: Event, run: Run): Lease | undefined {
  if (event.payload.case === "runClaimed") {
    const { leaseId, jobId } = event.payload.value;
    const expireTimeMs = run.leaseExpireTime ? timestampMs(run.leaseExpireTime) : 0;
    return { leaseId, jobId, expireTimeMs, stops: new Map() };
  }
  if (lease === undefined || leaseEndOf(event)) return undefined;
  const stops = evolveStops(lease.stops, event);
  return stops === lease.stops ? lease : { ...lease, stops };
}

function evolveSteps(steps: PersistentMap<StepHead>, event: Event): PersistentMap<StepHead> {
  let next = steps;
  for (const id of stepIdsOf(event)) {
    const before = next.get(id);
    const step = evolveStep(before?.step, event);
    if (step === undefined) continue;
    next = next.with(id, {
      step: { ...step, input: undefined, output: undefined },
      outputDigest: step.status === StepStatus.COMPLETED ? valueDigest(step.output) : undefined,
    });
  }
  return next;
}

function evolveToolCalls(calls: PersistentMap<ToolCallHead>, event: Event): PersistentMap<ToolCallHead> {
  let next = calls;
  for (const id of toolCallIdsOf(event)) {
    const before = next.get(id);
    const toolCall = evolveToolCall(before?.toolCall, event);
    if (toolCall === undefined) continue;
    next = next.with(id, {
      toolCall: { ...toolCall, arguments: undefined, result: undefined },
      argumentsPosition: saysArguments(event) ? event.position : (before?.argumentsPosition ?? 0n),
      askedDigest: before?.askedDigest || askedDigest(event),
      resultDigest: resultDigest(toolCall),
    });
  }
  return next;
}

function saysArguments({ payload }: Event): boolean {
  return payload.case === "toolCallStarted" || payload.case === "toolCallReused" || payload.case === "toolCallGated";
}

function askedDigest({ payload }: Event): string {
  return payload.case === "toolCallGated" ? payload.value.argumentsDigest : "";
}

function resultDigest({ status, result }: ToolCall): Uint8Array | undefined {
  if (status === ToolCallStatus.SUCCEEDED) return valueDigest(result);
  // Reconciled without a result: the call had not taken effect.
  return status === ToolCallStatus.RECONCILED && result ? valueDigest(result) : undefined;
}

function evolveChildren(children: PersistentMap<RunStatus>, { payload }: Event): PersistentMap<RunStatus> {
  return payload.case === "runChildEnded" ? children.with(payload.value.childRunId, payload.value.status) : children;
}

function evolveApprovals(approvals: PersistentMap<ApprovalStatus>, { payload }: Event): PersistentMap<ApprovalStatus> {
  if (payload.case === "runApprovalDecided") return approvals.with(payload.value.approvalId, payload.value.status);
  if (payload.case !== "toolCallGated" && payload.case !== "stepStarted") return approvals;
  const { approvalId } = payload.value;
  return approvalId === "" ? approvals : approvals.with(approvalId, ApprovalStatus.PENDING);
}

function requestOf({ payload, actor }: Event): LiveRun["pauseRequest"] {
  return payload.case === "runPauseRequested" ? { note: payload.value.note, by: actor } : undefined;
}

/** SHA-256 of a value; an unset one counts as the empty value. */
export function valueDigest(value: Value | undefined): Uint8Array {
  return messageDigest(ValueSchema, value ?? create(ValueSchema));
}
