import type {
  CompleteStepRequest,
  FailStepRequest,
  StartStepRequest,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Step, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Aggregates, Draft } from "../eventlog/aggregates.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { createBaseRecord } from "./base-record.ts";
import { runNotFound } from "./decider.ts";
import type { Alarm, ApprovalDesk, Gate } from "./gate.ts";
import { createLeasedRuns } from "./leased-runs.ts";
import type { RunRecord } from "./run-record.ts";
import type { LiveRun, RunState } from "./state.ts";
import { completeStep, failStep, type NewStep, type RecordedStep, startStep } from "./step-decider.ts";
import { newStep } from "./step-request.ts";
import { createToolCalls, type ToolCalls } from "./tool-calls.ts";

/** A step and where the log stood after the command. */
interface StepAt {
  readonly step: Step;
  readonly position: bigint;
}

/** What workers record inside a run. Every function throws the errors that engine_service.proto names. */
export interface Work extends ToolCalls {
  startStep(call: Call, request: StartStepRequest): Promise<StepAt>;
  completeStep(call: Call, request: CompleteStepRequest): Promise<StepAt>;
  failStep(call: Call, request: FailStepRequest): Promise<StepAt>;
}

/** What work needs. */
export interface WorkDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly record: RunRecord;
  readonly tokens: LeaseTokens;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly approvals: ApprovalDesk;
  readonly alarm: Alarm;
  /** Whether the bytes of an artifact can be read; default: they always can. */
  readonly isReadable?: (workspaceId: string, artifactId: string) => Promise<boolean>;
}

/** Steps and tool calls under a lease. */
export function createWork(deps: WorkDeps): Work {
  const { aggregates, record, tokens, limits } = deps;
  const base = createBaseRecord(deps);
  const leased = createLeasedRuns(deps);

  type Decide = (state: RunState, ticket: LeaseTicket, now: Date) => Draft | undefined;

  /** The step after a command, without its input, which the worker knows. */
  async function onStep(call: Call, leaseToken: string, stepId: string, decide: Decide): Promise<StepAt> {
    const ticket = tokens.open(leaseToken, call.workspaceId);
    const executed = await leased.execute(call, ticket, (before, now) => decide(before, ticket, now));
    const { state, subject = "", position } = executed;
    const payload = executed.recorded?.event.payload;
    const head = state.steps.get(stepId);
    if (head === undefined) throw new SignalboxError("STEP_NOT_FOUND", "the run has no such step; start it first");
    if (payload?.case === "stepCompleted" || payload?.case === "stepReused")
      return { step: { ...head.step, output: payload.value.output }, position };
    if (head.step.status !== StepStatus.COMPLETED) return { step: head.step, position };
    return { step: { ...head.step, output: await record.stepOutput(subject, head) }, position };
  }

  /** The run as this process saw it last: what it was created with is the same for ever, what it has done only grows. */
  async function glance(workspaceId: string, runId: string): Promise<LiveRun | undefined> {
    const { state } = aggregates.cached(workspaceId, runId) ?? (await aggregates.load(workspaceId, runId));
    return state.status === "absent" ? undefined : state;
  }

  /** What the base run has on record of a step that is new here. A step that waits for a child has to name the run's own. */
  async function recordedStep({ workspaceId }: Call, runId: string, step: NewStep): Promise<RecordedStep | undefined> {
    const live = await glance(workspaceId, runId);
    if (live === undefined || live.steps.get(step.stepId)?.step.childRunId === step.childRunId) return undefined;
    const recorded = live.run.baseRunId ? await base.step(workspaceId, live.run, step.key, step.kind) : undefined;
    if (recorded === undefined && step.childRunId) await requireChild(workspaceId, runId, step.childRunId);
    return recorded;
  }

  async function requireChild(workspaceId: string, runId: string, childRunId: string): Promise<void> {
    const child = await glance(workspaceId, childRunId);
    if (child === undefined) throw runNotFound(childRunId);
    if (child.run.parentRunId === runId) return;
    throw new SignalboxError(
      "INVALID_STATE",
      `run ${childRunId} is no child of ${runId}, which would never hear of its end; create it with parent_run_id`,
    );
  }

  return {
    ...createToolCalls({ ...deps, leased, base }),
    async startStep(call, request) {
      const { leaseToken, key, input } = request;
      requireStorable("input", input, limits.maxInputBytes);
      const { runId } = tokens.open(leaseToken, call.workspaceId);
      const step = newStep(call.workspaceId, derivedId("step", call.workspaceId, runId, key), request);
      const recorded = await recordedStep(call, runId, step);
      return onStep(call, leaseToken, step.stepId, (state, ticket, now) =>
        startStep(state, ticket, step, now, recorded),
      );
    },
    completeStep(call, { leaseToken, stepId, output, outputArtifactId, usage }) {
      requireStorable("output", output, limits.maxOutputBytes);
      return onStep(call, leaseToken, stepId, (state, ticket) =>
        completeStep(state, ticket, { stepId, output, outputArtifactId, usage }),
      );
    },
    failStep(call, { leaseToken, stepId, error, usage }) {
      return onStep(call, leaseToken, stepId, (state, ticket) => failStep(state, ticket, { stepId, error, usage }));
    },
  };
}
