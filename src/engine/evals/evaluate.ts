import { fromJson, toJson, toJsonString } from "@bufbuild/protobuf";
import {
  type CaseScore,
  type EvalThresholds,
  type EvaluationSpec,
  EvaluationSpecSchema,
  type Scorecard,
  ScorecardSchema,
  type Suite,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import type { JsonValue } from "../../client/json.ts";
import { offlineModel } from "../../models/offline-model.ts";
import type { Handler, HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";
import { readyChecks, UnusableCheckError } from "./checks.ts";
import type { GateTerms } from "./gate.ts";
import { measureTrials } from "./measure.ts";
import { type Baseline, scorecardOf } from "./scorecard.ts";
import { openTarget } from "./target.ts";
import type { TriedCase } from "./trial.ts";
import { type MadeTrial, makeTrials, type PlannedTrial } from "./trials.ts";

/** The handler of evaluations. Nobody but EvalService creates runs of it. */
export const evaluateHandler = "signalbox:evaluate";

/** What evaluations go by. */
export interface EvaluateOptions {
  /** The model of judges that name none, default `mock/assistant`, which gives no verdicts. */
  readonly judgeModel?: string | undefined;
}

/** The largest scorecard that the run's output has as it is, in characters of JSON; a larger one loses its flaws there. */
const maxScorecardLength = 256 * 1024;

/** The handler of evaluations: takes an EvaluationSpec, makes its trials as child runs, and returns the Scorecard. */
export function createEvaluateHandler({ judgeModel = offlineModel }: EvaluateOptions = {}): Handler {
  return async (ctx, input) => {
    const spec = specOf(input);
    const [suite, baseline] = await Promise.all([suiteOf(ctx, spec), baselineOf(ctx, spec)]);
    const plans = planned(suite, spec);
    const target = await openTarget(ctx, requireTarget(spec));
    const made = await makeTrials(ctx, plans, { target, parallelism: spec.parallelism, judgeModel });
    const known = target === undefined ? [] : await ctx.step("measure", () => measureTrials(ctx), { retry });
    await target?.close();
    const scorecard = scorecardOf(triedCases(made, known), termsOf(spec.thresholds), baseline);
    return toJson(ScorecardSchema, await kept(ctx, scorecard));
  };
}

const retry = { maxAttempts: 5 };

function specOf(input: JsonValue | undefined): EvaluationSpec {
  try {
    return fromJson(EvaluationSpecSchema, input ?? null, { ignoreUnknownFields: true });
  } catch (error) {
    const message = `the input is no EvaluationSpec; evaluations are created with EvalService.Evaluate`;
    throw new HandlerError("INVALID_INPUT", message, { retryable: false, cause: error });
  }
}

function requireTarget({ target }: EvaluationSpec) {
  if (target !== undefined) return target;
  throw new HandlerError("INVALID_INPUT", "the evaluation has no target", { retryable: false });
}

/** The version of the suite. It never changes, so it need not be on the record of this run as well. */
async function suiteOf({ client, signal }: HandlerContext, { suiteId, suiteVersion }: EvaluationSpec): Promise<Suite> {
  const { suite } = await client.evals.getSuite({ suiteId, version: suiteVersion }, { signal });
  if (suite === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer to GetSuite has no suite");
  return suite;
}

/** The baseline, which has ended and never changes; undefined without one. */
async function baselineOf(
  { client, signal }: HandlerContext,
  { baselineEvaluationId: evaluationId }: EvaluationSpec,
): Promise<Baseline | undefined> {
  if (evaluationId === "") return undefined;
  const { evaluation } = await client.evals.getEvaluation({ evaluationId }, { signal });
  const cases: readonly CaseScore[] = evaluation?.scorecard?.cases ?? [];
  return { evaluationId, cases };
}

/** The trials of all cases, one round after the other, so that an early look at them is a look at every case. */
function planned(suite: Suite, { target, repeats }: EvaluationSpec): PlannedTrial[] {
  const cases = suite.cases.map((evalCase) => ({ evalCase, checks: checksOf(evalCase) }));
  if (target?.target.case !== "recorded") {
    const rounds = Array.from({ length: repeats }, (_, index) => index + 1);
    return rounds.flatMap((repeat) => cases.map((one) => ({ ...one, repeat, recordedRunId: undefined })));
  }
  const seen = new Map<string, number>();
  return target.target.value.runs.flatMap(({ runId, caseKey }) => {
    const repeat = (seen.get(caseKey) ?? 0) + 1;
    seen.set(caseKey, repeat);
    return cases
      .filter(({ evalCase }) => evalCase.key === caseKey)
      .map((one) => ({ ...one, repeat, recordedRunId: runId }));
  });
}

function checksOf(evalCase: Suite["cases"][number]) {
  try {
    return readyChecks(evalCase);
  } catch (error) {
    if (!(error instanceof UnusableCheckError)) throw error;
    throw new HandlerError("INVALID_INPUT", error.message, { retryable: false, cause: error });
  }
}

function triedCases(made: readonly MadeTrial[], known: Awaited<ReturnType<typeof measureTrials>>): TriedCase[] {
  const measuredOf = new Map(known.map(({ key, repeat, ...measured }) => [`${key} ${repeat}`, measured]));
  const byCase = Map.groupBy(made, ({ plan }) => plan.evalCase);
  return [...byCase].map(([evalCase, trials]) => ({
    evalCase,
    trials: trials
      .map(({ plan: { repeat }, outcome, measured }) => {
        return { repeat, outcome, measured: measured ?? measuredOf.get(`${evalCase.key} ${repeat}`) };
      })
      .toSorted((a, b) => a.repeat - b.repeat),
  }));
}

function termsOf(thresholds: EvalThresholds | undefined): GateTerms {
  const { minPassRate, confidence, maxRegression, minRepeats } = thresholds ?? {};
  if ([minPassRate, confidence, maxRegression, minRepeats].includes(undefined)) {
    throw new HandlerError("INVALID_INPUT", "the evaluation lacks a threshold", { retryable: false });
  }
  return {
    minPassRate: minPassRate ?? 0,
    confidence: confidence ?? 0,
    maxRegression: maxRegression ?? 0,
    minRepeats: minRepeats ?? 0,
  };
}

/** The scorecard for the run's output, after the whole of it has been stored as an artifact of the run. */
async function kept(ctx: HandlerContext, scorecard: Scorecard): Promise<Scorecard> {
  const text = toJsonString(ScorecardSchema, scorecard);
  const artifactId = await store(ctx, text);
  if (text.length <= maxScorecardLength) return { ...scorecard, artifactId };
  return { ...scorecard, artifactId, cases: scorecard.cases.map((score) => ({ ...score, flaws: [] })) };
}

/** The id of the artifact; empty when the server does not keep it: the result is worth more than its file. */
async function store(ctx: HandlerContext, text: string): Promise<string> {
  try {
    return (await ctx.artifact("scorecard.json", text, { contentType: "application/json" })).artifactId;
  } catch (error) {
    if (!(error instanceof HandlerError) || error.retryable) throw error;
    ctx.log.warn({ err: error }, "the scorecard is not kept as an artifact");
    return "";
  }
}
