import { create } from "@bufbuild/protobuf";
import { timestampFromDate, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { StartToolCallRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { RunErrorSchema, StepKind, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Draft, Loaded } from "../../src/eventlog/aggregates.ts";
import { eventTypes } from "../../src/eventlog/event-type.ts";
import { sha256 } from "../../src/kernel/digest.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { createRun, type NewRun } from "../../src/runs/decider.ts";
import { type Claim, claimRun } from "../../src/runs/lease-decider.ts";
import { completeRetryPolicy } from "../../src/runs/retry-policy.ts";
import { evolveRunState, runAggregate, type RunState } from "../../src/runs/state.ts";
import { reuseToolCall, startToolCall } from "../../src/runs/gate-decider.ts";
import { type NewStep, type RecordedStep, startStep } from "../../src/runs/step-decider.ts";
import type { RecordedToolCall } from "../../src/runs/tool-call-decider.ts";

/** The one run of a scenario. */
const runId = "run_1";
/** When scenarios begin. */
export const start = new Date(Date.UTC(2026, 0, 1));
/** Some time after the beginning. */
export const after = (ms: number): Date => new Date(start.getTime() + ms);

/** A decision about the run. */
export type Decide = (state: RunState, now: Date) => Draft | undefined;

/** The run after some of its events. */
export interface Scenario {
  readonly state: RunState;
  readonly events: readonly Event[];
}

/** A run that nobody knows of, as a server answers it. */
export const unknown: Loaded<RunState> = {
  state: runAggregate.initial,
  position: 0n,
  sequence: 0n,
  hash: new Uint8Array(),
  subject: undefined,
  threadId: "",
  sizeBytes: 0,
};

/** Before the run was created. */
export const nothing: Scenario = { state: runAggregate.initial, events: [] };

/** The scenario with one more event: what the decision recorded. */
function record({ state, events }: Scenario, { payload, zone }: Draft, now = start): Scenario {
  const position = BigInt(events.length + 1);
  const event = create(EventSchema, {
    eventId: `event-${position}`,
    position,
    workspaceId: "ws_test",
    stream: { type: "run", id: runId },
    streamSequence: position,
    type: eventTypes[payload.case],
    actor: { type: PrincipalType.USER, id: "tester" },
    zone,
    createTime: timestampFromDate(now),
    payload,
  });
  return { state: evolveRunState(state, event), events: [...events, event] };
}

/** The run after some decisions; each must record something. */
export function given(...decisions: (Decide | Date)[]): Scenario {
  let scenario = nothing;
  let now = start;
  for (const decision of decisions) {
    if (decision instanceof Date) {
      now = decision;
      continue;
    }
    const draft = decision(scenario.state, now);
    if (draft === undefined) throw new Error("the decision records nothing");
    scenario = record(scenario, draft, now);
  }
  return scenario;
}

/** What a decision comes to: the event that it records, `-` for nothing, or the reason of its refusal. */
export function outcome({ state }: Scenario, decide: Decide, now = start): string {
  try {
    const draft = decide(state, now);
    return draft === undefined ? "-" : eventTypes[draft.payload.case];
  } catch (error) {
    if (error instanceof SignalboxError) return error.reason;
    throw error;
  }
}

/** The scenario after a decision, whether it records something or not. A refusal changes nothing. */
export function attempt(scenario: Scenario, decide: Decide, now = start): Scenario {
  try {
    const draft = decide(scenario.state, now);
    return draft === undefined ? scenario : record(scenario, draft, now);
  } catch (error) {
    if (error instanceof SignalboxError) return scenario;
    throw error;
  }
}

/** A string as a value. */
export const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });

/** A failure that another attempt may mend. */
export const passing = create(RunErrorSchema, { code: "BUSY", message: "try again", retryable: true });
/** A failure that no further attempt can mend. */
export const final = create(RunErrorSchema, { code: "WRONG", message: "never", retryable: false });

/** A run to create: three attempts, 1 s of backoff, whose request has a body that decides over its digest. */
export function newRun({ body = "a", ...more }: Partial<NewRun> & { body?: string } = {}): NewRun {
  return {
    runId,
    request: create(CreateRunRequestSchema, { requestId: "request", handler: "echo", input: text(body) }),
    handler: "echo",
    zone: Zone.SUPERVISED,
    retryPolicy: completeRetryPolicy(undefined),
    maxDuration: undefined,
    budget: undefined,
    depth: 0,
    base: undefined,
    requestDigest: sha256(Buffer.from(body)),
    ...more,
  };
}

/** run.created */
export const created =
  (run = newRun()): Decide =>
  (state) =>
    createRun(state, run);

/** A claim of 30 s by the job that bears the lease's number, made after everything that has happened. */
export function claim(lease: string, more: Partial<Claim> = {}): Claim {
  const leaseId = `lease_${lease}`;
  const job = { jobId: `job_${lease}`, jobPosition: 1_000n, redelivered: false };
  return { ...job, leaseId, leaseTtlMs: 30_000, workerId: `wrk_${lease}`, ...more };
}

/** run.claimed */
export const claimed =
  (lease: string, more?: Partial<Claim>): Decide =>
  (state, now) =>
    claimRun(state, claim(lease, more), now);

/** A lease of the run. */
export const ref = (lease: string) => ({ runId, leaseId: `lease_${lease}` });

/** step.started */
export const stepStarted =
  (lease: string, step = "1", more: Partial<NewStep> = {}, recorded?: RecordedStep): Decide =>
  (state, now) => {
    const started = { stepId: `step_${step}`, key: step, name: step, input: text("input"), sequence: 0, ...more };
    return startStep(state, ref(lease), { kind: StepKind.FUNCTION, ...started }, now, recorded);
  };

/** tool_call.started, let by the gate: of a payment by default, which must not happen twice. */
export const toolCallStarted =
  (
    lease: string,
    more: { call?: string; effect?: ToolEffect; idempotent?: boolean; stepId?: string } = {},
    recorded?: RecordedToolCall,
  ): Decide =>
  (state, now) => {
    const { call = "1", effect = ToolEffect.EXTERNAL_WRITE, idempotent = false, stepId = "" } = more;
    const request = create(StartToolCallRequestSchema, { key: call, tool: "pay", effect, idempotent, stepId });
    const asked = { lease: ref(lease), toolCallId: `tc_${call}`, request };
    if (recorded !== undefined) return reuseToolCall(state, asked, recorded, now);
    const head = state.status === "absent" ? undefined : state.toolCalls.get(asked.toolCallId);
    const position = head?.toolCall.position ?? 0n;
    const permit = { decision: undefined, arguments: request.arguments, position, approval: undefined };
    return startToolCall(state, asked, permit, now);
  };
