import { create } from "@bufbuild/protobuf";
import {
  type EvalTarget,
  type Evaluation,
  type EvaluationSpec,
  EvaluationSpecSchema,
  type Suite,
  SuiteStatus,
} from "../../gen/signalbox/v1/eval_pb.ts";
import {
  type EvalServiceEvaluateRequest,
  EvalServiceEvaluateRequestSchema,
  type ListEvaluationsRequest,
} from "../../gen/signalbox/v1/eval_service_pb.ts";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import {
  type CreateRunRequest,
  CreateRunRequestSchema,
  type ListRunsRequest,
  ListRunsRequestSchema,
} from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { readPage, type Page } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Found } from "../readmodel/resource-page.ts";
import { evaluateHandler, evaluationOf, inputOf, shortened, suiteLabel } from "./evaluation.ts";
import type { Suites } from "./suites.ts";
import { completeThresholds } from "./thresholds.ts";

/** The evaluations of all workspaces; every call sees its own workspace only. Every function throws what eval_service.proto names. */
export interface Evaluations {
  evaluate(call: Call, request: EvalServiceEvaluateRequest): Promise<{ evaluation: Evaluation; position: bigint }>;
  get(call: Call, evaluationId: string): Promise<Evaluation>;
  list(call: Call, request: ListEvaluationsRequest): Promise<{ evaluations: Evaluation[]; nextPageToken: string }>;
}

/** What evaluations need of runs. */
export interface EvaluatedRuns {
  /** Creates a run, whatever its handler. */
  create(call: Call, request: CreateRunRequest): Promise<{ readonly run: Run; readonly position: bigint }>;
  /** The run that `create` has made for this request_id, as it is now; undefined when it has made none. */
  createdBy(workspaceId: string, requestId: string): Promise<Run | undefined>;
  /** The run as it is now, confirmed by the log's leader; undefined when the workspace has none with the id. */
  find(workspaceId: string, runId: string): Promise<Run | undefined>;
  /** A page of runs, newest first. */
  list(workspaceId: string, request: ListRunsRequest, page: Page): Promise<Found<Run>>;
}

/** What evaluations need. */
export interface EvaluationsDeps {
  readonly suites: Pick<Suites, "get">;
  readonly runs: EvaluatedRuns;
  readonly positions: Pick<Positions, "reach">;
  /** True when the workspace has this agent. */
  readonly hasAgent: (workspaceId: string, agentId: string) => Promise<boolean>;
}

/** Trials of one evaluation: each is a step or more of its run, which may have 10,000. */
const maxTrials = 2_000;
const defaultRepeats = 5;
const defaultParallelism = 8;
/** How often its run may fail before the evaluation does: what is on record is not done again. */
const retryPolicy = { maxAttempts: 10 };

const ended: ReadonlySet<RunStatus> = new Set([RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED]);

/** The evaluations on the runs of an installation. */
export function createEvaluations({ suites, runs, positions, hasAgent }: EvaluationsDeps): Evaluations {
  async function requireTarget({ workspaceId }: Call, { target }: EvalTarget, suite: Suite): Promise<void> {
    if (target.case === "agent" && !(await hasAgent(workspaceId, target.value.agentId))) {
      throw new SignalboxError("AGENT_NOT_FOUND", `agent ${target.value.agentId} does not exist in this workspace`);
    }
    if (target.case !== "recorded") return;
    const keys = new Set(suite.cases.map(({ key }) => key));
    for (const { runId, caseKey } of target.value.runs) {
      if (!keys.has(caseKey)) {
        throw new SignalboxError("INVALID_REQUEST", `the suite has no case ${JSON.stringify(caseKey)}`);
      }
      const run = await runs.find(workspaceId, runId);
      if (run === undefined) throw new SignalboxError("RUN_NOT_FOUND", `run ${runId} does not exist in this workspace`);
      if (ended.has(run.status)) continue;
      throw new SignalboxError("INVALID_STATE", `run ${runId} has not ended; wait for its end, then evaluate it`);
    }
  }

  async function requireBaseline({ workspaceId }: Call, evaluationId: string, suite: Suite): Promise<void> {
    if (evaluationId === "") return;
    const { spec, scorecard } = evaluationOf(await runs.find(workspaceId, evaluationId), evaluationId);
    if (spec?.suiteId !== suite.suiteId) {
      throw new SignalboxError("INVALID_REQUEST", `baseline ${evaluationId} is an evaluation of another suite`);
    }
    if (scorecard !== undefined) return;
    throw new SignalboxError(
      "INVALID_STATE",
      `baseline ${evaluationId} has no scorecard: it has not ended, or has failed`,
    );
  }

  async function specOf(call: Call, request: EvalServiceEvaluateRequest, digest: string): Promise<EvaluationSpec> {
    const { target, baselineEvaluationId } = request;
    if (target === undefined) throw new SignalboxError("INVALID_REQUEST", "target is missing: say what to evaluate");
    const suite = await suites.get(call, { suiteId: request.suiteId, name: "", version: request.suiteVersion });
    await requireInUse(call, suite);
    await Promise.all([requireTarget(call, target, suite), requireBaseline(call, baselineEvaluationId, suite)]);
    const thresholds = completeThresholds(request.thresholds, suite.thresholds);
    const repeats = request.repeats || Math.max(defaultRepeats, thresholds.minRepeats ?? 0);
    const trials = target.target.case === "recorded" ? target.target.value.runs.length : suite.cases.length * repeats;
    if (trials > maxTrials) {
      throw new SignalboxError(
        "INVALID_REQUEST",
        `${suite.cases.length} cases and ${repeats} repeats make ${trials} trials, the most is ${maxTrials}; repeat less, or split the suite`,
        { limit: String(maxTrials) },
      );
    }
    return create(EvaluationSpecSchema, {
      suiteId: suite.suiteId,
      suiteVersion: suite.version,
      suiteName: suite.name,
      target,
      repeats,
      parallelism: request.parallelism || defaultParallelism,
      thresholds,
      baselineEvaluationId,
      requestDigest: digest,
    });
  }

  async function requireInUse(call: Call, { suiteId }: Suite): Promise<void> {
    const { status } = await suites.get(call, { suiteId, name: "", version: 0n });
    if (status === SuiteStatus.ACTIVE) return;
    throw new SignalboxError("INVALID_STATE", `suite ${suiteId} is archived; put it again to bring it back`);
  }

  return {
    async evaluate(call, request) {
      const repeatable = request.requestId !== "";
      const requestId = repeatable ? `evaluate/${request.requestId}` : "";
      const digest = repeatable
        ? Buffer.from(requestDigest(EvalServiceEvaluateRequestSchema, request)).toString("hex")
        : "";
      // A repeat answers the first one, whatever has become of suite, target and baseline since.
      const before = repeatable ? await runs.createdBy(call.workspaceId, requestId) : undefined;
      if (before !== undefined) return repeated(before, request, digest);
      const spec = await specOf(call, request, digest);
      const { run, position } = await runs.create(call, runOf(request, spec, requestId));
      return { evaluation: evaluationOf(run, run.runId), position };
    },
    async get({ workspaceId }, evaluationId) {
      return evaluationOf(await runs.find(workspaceId, evaluationId), evaluationId);
    },
    async list({ workspaceId, signal }, { suiteId, statuses, pageSize, pageToken, minPosition }) {
      const page = readPage("evaluations", [workspaceId, suiteId, statuses], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const filter = create(ListRunsRequestSchema, { handler: evaluateHandler, statuses });
      if (suiteId !== "") filter.labels = { [suiteLabel]: suiteId };
      const { items, nextPageToken } = await runs.list(workspaceId, filter, page);
      return { evaluations: items.map((run) => shortened(evaluationOf(run, run.runId))), nextPageToken };
    },
  };
}

function runOf(request: EvalServiceEvaluateRequest, spec: EvaluationSpec, requestId: string): CreateRunRequest {
  const { roomId, queue, maxDuration, budget } = request;
  return create(CreateRunRequestSchema, {
    requestId,
    handler: evaluateHandler,
    input: inputOf(spec),
    labels: { [suiteLabel]: spec.suiteId },
    roomId,
    queue,
    retryPolicy,
    ...(maxDuration === undefined ? {} : { maxDuration }),
    ...(budget === undefined ? {} : { budget }),
  });
}

function repeated(run: Run, { requestId }: EvalServiceEvaluateRequest, digest: string) {
  const evaluation = evaluationOf(run, run.runId);
  if (evaluation.spec?.requestDigest === digest) return { evaluation, position: run.position };
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `request_id ${JSON.stringify(requestId)} has started ${run.runId} with another body; use a new request_id`,
    { evaluation_id: run.runId },
  );
}
