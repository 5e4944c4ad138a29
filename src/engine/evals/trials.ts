import { RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import type { EvalCase } from "../../../gen/signalbox/v1/eval_pb.ts";
import { type JsonValue, valueToJson } from "../../client/json.ts";
import type { HandlerContext } from "../handler.ts";
import { ChildRunError, HandlerError } from "../handler-error.ts";
import { madeTest, type ReadyCheck } from "./checks.ts";
import { judgeRequest, outcomeOf, verdictOf } from "./judge.ts";
import { caseLabel, measured, repeatLabel } from "./measure.ts";
import type { OpenTarget } from "./target.ts";
import type { Measured, Outcome } from "./trial.ts";

/** A trial to make. */
export interface PlannedTrial {
  readonly evalCase: EvalCase;
  readonly checks: readonly ReadyCheck[];
  /** From 1. */
  readonly repeat: number;
  /** The run to take the output from; undefined for one that is to be made. */
  readonly recordedRunId: string | undefined;
}

/** What came of a trial; `measured` only for one on record. */
export interface MadeTrial {
  readonly plan: PlannedTrial;
  readonly outcome: Outcome;
  readonly measured: Measured | undefined;
}

/** What trials need. */
export interface TrialsOptions {
  /** Undefined when all runs are on record. */
  readonly target: OpenTarget | undefined;
  readonly parallelism: number;
  /** The model of judges that name none. */
  readonly judgeModel: string;
}

/** An answer, or what its absence means. */
type Answer = { readonly output: JsonValue | undefined } | { readonly outcome: Outcome };

/** Failures of a run that say nothing about what was evaluated. */
const outsideCodes: ReadonlySet<string> = new Set([
  "CHILD_RUN_CANCELED",
  "LEASE_LOST",
  "MODELS_UNAVAILABLE",
  "MODEL_RATE_LIMITED",
  "MODEL_UNAVAILABLE",
]);

/** Makes the trials, so many at the same time; the results are in the order of the plans. */
export async function makeTrials(
  ctx: HandlerContext,
  plans: readonly PlannedTrial[],
  options: TrialsOptions,
): Promise<MadeTrial[]> {
  const made: MadeTrial[] = [];
  let [next, done, passed] = [0, 0, 0];
  async function lane(): Promise<void> {
    for (let index = next++; index < plans.length; index = next++) {
      const plan = plans[index];
      if (plan === undefined) return;
      const trial = await makeTrial(ctx, plan, options);
      made[index] = trial;
      if (trial.outcome.kind === "passed") passed++;
      ctx.emit({ key: "progress", data: { done: ++done, total: plans.length, passed } });
    }
  }
  await Promise.all(Array.from({ length: options.parallelism }, lane));
  return made;
}

async function makeTrial(ctx: HandlerContext, plan: PlannedTrial, options: TrialsOptions): Promise<MadeTrial> {
  const { recordedRunId: runId } = plan;
  const name = `${plan.evalCase.key}/${plan.repeat}`;
  const recorded =
    runId === undefined
      ? undefined
      : await ctx.step(`recorded ${name}`, () => recordedRun(ctx, runId), { retry: { maxAttempts: 5 } });
  const answer = recorded?.answer ?? (await live(ctx, name, plan, options.target));
  const outcome = "outcome" in answer ? answer.outcome : await judge(ctx, name, plan, answer.output, options);
  return { plan, outcome, measured: recorded?.measured };
}

async function live(
  ctx: HandlerContext,
  name: string,
  { evalCase, repeat }: PlannedTrial,
  target: OpenTarget | undefined,
): Promise<Answer> {
  if (target === undefined) throw new Error("a trial that is not on record needs a target");
  const labels = { [caseLabel]: evalCase.key, [repeatLabel]: String(repeat) };
  return attempt(() => ctx.run({ ...target.child, name, input: valueToJson(evalCase.input), labels }), runFailure);
}

async function recordedRun(
  { client, signal }: HandlerContext,
  runId: string,
): Promise<{ answer: Answer; measured: Measured }> {
  const { run } = await client.runs.getRun({ runId }, { signal });
  if (run === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer to GetRun has no run");
  if (run.status === RunStatus.SUCCEEDED) {
    return { answer: { output: valueToJson(run.output) ?? null }, measured: measured(run) };
  }
  const code = run.status === RunStatus.CANCELED ? "CHILD_RUN_CANCELED" : (run.error?.code ?? "");
  return { answer: { outcome: failure(code, run.error?.message ?? "the run was canceled") }, measured: measured(run) };
}

/** What `fn` answers; what a HandlerError means to the trial. Lets everything else pass: the evaluation is to stop. */
async function attempt(
  fn: () => Promise<JsonValue | undefined>,
  meaning: (error: HandlerError) => Outcome,
): Promise<Answer> {
  try {
    return { output: await fn() };
  } catch (error) {
    if (!(error instanceof HandlerError)) throw error;
    return { outcome: meaning(error) };
  }
}

function runFailure(error: HandlerError): Outcome {
  if (error instanceof ChildRunError) return failure(error.code, error.message);
  return { kind: "error", check: "", message: `the run was refused: ${error.code}: ${error.message}` };
}

function failure(code: string, message: string): Outcome {
  return { kind: outsideCodes.has(code) ? "error" : "failed", check: "", message: `${code}: ${message}` };
}

async function judge(
  ctx: HandlerContext,
  name: string,
  { evalCase, checks }: PlannedTrial,
  output: JsonValue | undefined,
  { judgeModel }: TrialsOptions,
): Promise<Outcome> {
  const test = () => verdict(checks.flatMap((check) => madeTest(check, output) ?? []));
  const asking = checks.filter(({ kind }) => kind !== "test");
  if (asking.length === 0) return test();
  // On record, as it decides about the commands that follow and can depend on how long it takes.
  const tested = await ctx.step(`tests ${name}`, test);
  if (tested.kind === "failed") return tested;
  const outcomes = [tested];
  for (const [index, check] of asking.entries()) {
    outcomes.push(
      await ask(ctx, { check, name: `${name}/${index + 1}`, evalCase, output: output ?? null, judgeModel }),
    );
  }
  return verdict(outcomes);
}

interface Question {
  readonly check: ReadyCheck;
  readonly name: string;
  readonly evalCase: EvalCase;
  readonly output: JsonValue;
  readonly judgeModel: string;
}

async function ask(ctx: HandlerContext, { check, name, evalCase, output, judgeModel }: Question): Promise<Outcome> {
  const given = { input: valueToJson(evalCase.input), output, expected: valueToJson(evalCase.expected) };
  const trouble = ({ code, message }: HandlerError): Outcome => {
    return { kind: "error", check: check.name, message: `the check could not be made: ${code}: ${message}` };
  };
  if (check.kind === "handler") {
    const { handler, queue } = check.ask;
    const input = { ...given, input: given.input ?? null, expected: given.expected ?? null };
    const answer = await attempt(() => ctx.run({ handler, queue, name, input }), trouble);
    return "outcome" in answer ? answer.outcome : outcomeOf(check.name, answer.output, `handler ${handler}`);
  }
  if (check.kind === "judge") {
    const request = judgeRequest(check.ask.model || judgeModel, { ...given, rubric: check.ask.rubric });
    try {
      const answer = await ctx.model(request, { name, stream: false, retry: { maxAttempts: 3 } });
      return verdictOf(check.name, answer);
    } catch (error) {
      if (!(error instanceof HandlerError)) throw error;
      return trouble(error);
    }
  }
  throw new Error(`check ${check.name} asks nobody`);
}

/** A flaw that is certain outweighs a check that could not be made. */
function verdict(outcomes: readonly Outcome[]): Outcome {
  const of = (kind: Outcome["kind"]) => outcomes.find((outcome) => outcome.kind === kind);
  return of("failed") ?? of("error") ?? { kind: "passed" };
}
