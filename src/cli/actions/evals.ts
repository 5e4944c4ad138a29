import { writeFile } from "node:fs/promises";
import { create, toJson } from "@bufbuild/protobuf";
import {
  type EvalTarget,
  EvalTargetSchema,
  EvalThresholdsSchema,
  type Evaluation,
  EvaluationSchema,
  GateVerdict,
  type Suite,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import { RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { type SignalboxClient, valueToJson } from "../../client/client.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { RunEvalOptions } from "../commands/evals.ts";
import { given } from "../given.ts";
import { evaluationView } from "../views/eval-view.ts";
import { junitReport } from "../views/junit.ts";
import { openClient } from "./client.ts";
import { followEvents } from "./following.ts";
import { durationOf } from "./policies.ts";
import { findSuite, readSuite, showSuite } from "./suites.ts";
import { textArgument } from "./text-argument.ts";

/** `signalbox eval run`: starts an evaluation and stays until it has ended. */
export async function runEval(cli: Cli, which: string, options: RunEvalOptions): Promise<ExitCode> {
  const target = await targetOf(options);
  using client = openClient(cli);
  const { suiteId, version } = await suiteOf(client, cli, which);
  const { repeats = 0, parallel = 0, baseline = "", room = "", requestId = "" } = options;
  const { minPassRate, confidence, maxRegression, minRepeats } = options;
  const thresholds = create(EvalThresholdsSchema, given({ minPassRate, confidence, maxRegression, minRepeats }));
  const request = {
    suiteId,
    suiteVersion: version,
    target,
    repeats,
    parallelism: parallel,
    baselineEvaluationId: baseline,
    thresholds,
    roomId: room,
    requestId,
    ...given({ maxDuration: durationOf(options.maxDuration) }),
  };
  const { evaluation: begun } = await client.evals.evaluate(request, { signal: cli.signal });
  const { evaluationId } = present(begun);
  cli.output.note(`evaluation ${evaluationId}`);
  await follow(client, cli, evaluationId);
  if (cli.signal.aborted) {
    cli.output.note(`the evaluation goes on; signalbox runs cancel ${evaluationId} stops it`);
    return exitCodes.interrupted;
  }
  const { evaluation } = await client.evals.getEvaluation({ evaluationId }, { signal: cli.signal });
  if (options.junit !== undefined) await writeReport(options.junit, present(evaluation));
  return showEvaluation(cli, evaluation);
}

/** `signalbox eval show`. */
export async function showEval(cli: Cli, what: string): Promise<ExitCode> {
  using client = openClient(cli);
  if (!/^run_[0-9A-Z]{26}$/.test(what)) return showSuite(cli, await findSuite(client, cli, what));
  const { evaluation } = await client.evals.getEvaluation({ evaluationId: what }, { signal: cli.signal });
  return showEvaluation(cli, evaluation);
}

/** Shows an evaluation; the exit code is that of its verdict, timeUp while there is none yet. */
function showEvaluation({ output }: Cli, shown: Evaluation | undefined): ExitCode {
  const evaluation = present(shown);
  output.show(toJson(EvaluationSchema, evaluation), evaluationView(evaluation));
  switch (evaluation.scorecard?.gate?.verdict) {
    case GateVerdict.PASS:
      return 0;
    case GateVerdict.FAIL:
      return 1;
    case GateVerdict.INCONCLUSIVE:
      return 2;
    case GateVerdict.UNSPECIFIED:
    case undefined:
    default:
      return evaluation.status === RunStatus.FAILED || evaluation.status === RunStatus.CANCELED
        ? exitCodes.failed
        : exitCodes.timeUp;
  }
}

/** The suite of a file, put if it has changed, or the one that is there. */
async function suiteOf(client: SignalboxClient, cli: Cli, which: string): Promise<Suite> {
  if (which !== "-" && !which.endsWith(".json")) return findSuite(client, cli, which);
  const { suite } = await client.evals.putSuite({ suite: await readSuite(which) }, { signal: cli.signal });
  if (suite === undefined) throw new Error("the server answered without a suite");
  return suite;
}

async function targetOf(options: RunEvalOptions): Promise<EvalTarget> {
  const { agent, handler, recorded, model, queue = "" } = options;
  if ([agent, handler, recorded].filter((one) => one !== undefined).length !== 1) {
    throw usageError(
      "give --agent, --handler or --recorded, and one of them only",
      "For example: signalbox eval run signals.json --agent agt_01J…",
    );
  }
  const instructions =
    options.instructions === undefined ? undefined : await textArgument("--instructions", options.instructions);
  if (agent === undefined && (model !== undefined || instructions !== undefined)) {
    throw usageError("--model and --instructions change an agent", "Give --agent with them.");
  }
  if (agent !== undefined) {
    const value = { agentId: agent, ...given({ model, instructions }) };
    return create(EvalTargetSchema, { target: { case: "agent", value }, queue });
  }
  if (handler !== undefined) return create(EvalTargetSchema, { target: { case: "handler", value: handler }, queue });
  const runs = (recorded ?? []).map(recordedRun);
  return create(EvalTargetSchema, { target: { case: "recorded", value: { runs } } });
}

function recordedRun(text: string): { caseKey: string; runId: string } {
  const [, caseKey, runId] = /^([^=]+)=(run_\w+)$/.exec(text) ?? [];
  if (caseKey !== undefined && runId !== undefined) return { caseKey, runId };
  throw usageError(
    `--recorded ${text} is no case and run`,
    "Give a case and a run, for example distant/caution=run_01J…",
  );
}

/** Tells how far the evaluation is until its run has ended. */
async function follow(client: SignalboxClient, cli: Cli, runId: string): Promise<void> {
  const events = followEvents(client, cli, {
    filter: { runId },
    onDelta: ({ delta }) => {
      const data = delta?.stepKey === "progress" ? valueToJson(delta.data) : undefined;
      if (typeof data !== "object" || data === null || Array.isArray(data)) return;
      cli.output.progress(
        `${Number(data["done"])} of ${Number(data["total"])} trials, ${Number(data["passed"])} passed`,
      );
    },
  });
  for await (const { type } of events) if (type === "run.paused") cli.output.note(`the evaluation is paused: ${runId}`);
  cli.output.progress("");
}

async function writeReport(path: string, evaluation: Evaluation): Promise<void> {
  try {
    await writeFile(path, junitReport(evaluation));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new CliError(
      `--junit can not be written: ${cause}`,
      "Give a path in a folder that is there.",
      exitCodes.usage,
    );
  }
}

function present(evaluation: Evaluation | undefined): Evaluation {
  if (evaluation === undefined) throw new Error("the server answered without an evaluation");
  return evaluation;
}
