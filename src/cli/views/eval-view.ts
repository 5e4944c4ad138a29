import {
  type CaseScore,
  type EvalThresholds,
  type Estimate,
  type Evaluation,
  GateVerdictSchema,
  type Scorecard,
  type Suite,
  SuiteStatusSchema,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import { RunStatusSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { durationText, errorText, nameText, shorten, timeText, tookText } from "./values.ts";

/** Suites below each other, one line each. */
export function suiteTable(suites: readonly Suite[]): string {
  return table(
    ["SUITE", "NAME", "VERSION", "STATUS", "CASES", "CHANGED"],
    suites.map((suite) => [
      suite.suiteId,
      shorten(suite.name, 40),
      String(suite.version),
      enumName(SuiteStatusSchema, suite.status),
      String(suite.cases.length),
      timeText(suite.updateTime),
    ]),
  );
}

/** Everything that people want to know about a suite. */
export function suiteView(suite: Suite): string {
  return fields([
    ["suite", suite.suiteId],
    ["name", shorten(suite.name, 200)],
    ["status", suite.status === 0 ? "" : enumName(SuiteStatusSchema, suite.status)],
    ["version", suite.version === 0n ? "" : String(suite.version)],
    ["about", shorten(suite.description, 500)],
    ["cases", shorten(suite.cases.map(({ key }) => key).join(", "), 500)],
    ["thresholds", thresholdsText(suite.thresholds)],
    ["changed", suite.updateBy === undefined ? "" : `${timeText(suite.updateTime)} by ${nameText(suite.updateBy)}`],
  ]);
}

/** Evaluations below each other, one line each. */
export function evaluationTable(evaluations: readonly Evaluation[]): string {
  return table(
    ["EVALUATION", "STATUS", "VERDICT", "PASS RATE", "VERSION", "TARGET", "CREATED"],
    evaluations.map((evaluation) => [
      evaluation.evaluationId,
      enumName(RunStatusSchema, evaluation.status),
      verdictText(evaluation.scorecard),
      estimateText(evaluation.scorecard?.passRate),
      String(evaluation.spec?.suiteVersion ?? 0n),
      targetText(evaluation),
      timeText(evaluation.createTime),
    ]),
  );
}

/** Everything that people want to know about an evaluation: the cases that have a flaw, then the verdict and its reasons. */
export function evaluationView(evaluation: Evaluation): string {
  const { evaluationId, spec, status, error, scorecard, createTime, endTime } = evaluation;
  const head = fields([
    ["evaluation", evaluationId],
    ["suite", `${shorten(spec?.suiteName ?? "", 200)}, version ${spec?.suiteVersion ?? 0n}`],
    ["target", targetText(evaluation)],
    ["thresholds", thresholdsText(spec?.thresholds)],
    ["status", enumName(RunStatusSchema, status)],
    ["took", tookText(createTime, endTime)],
    ["error", errorText(error, 500)],
  ]);
  if (scorecard === undefined) return head;
  const flawed = scorecard.cases.filter(({ counts }) => (counts?.failed ?? 0) + (counts?.errors ?? 0) > 0);
  const { counts, latency, baseline } = scorecard;
  const sums = fields([
    ["trials", `${counts?.passed ?? 0} passed, ${counts?.failed ?? 0} failed, ${counts?.errors ?? 0} errors`],
    ["pass rate", estimateText(scorecard.passRate)],
    [
      "baseline",
      baseline === undefined ? "" : `${estimateText(baseline.difference)}, p = ${baseline.pValue.toFixed(3)}`,
    ],
    ["not compared", baseline === undefined ? "" : shorten(baseline.unmatchedKeys.join(", "), 500)],
    [
      "latency",
      latency === undefined ? "" : `${durationText(latency.medianMs)}, 95 % below ${durationText(latency.p95Ms)}`,
    ],
  ]);
  const reasons = scorecard.gate?.reasons.map(({ message }) => `  ${message}`) ?? [];
  const parts = [
    head,
    flawed.length === 0 ? "" : caseTable(flawed),
    sums,
    [verdictText(scorecard), ...reasons].join("\n"),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

function caseTable(cases: readonly CaseScore[]): string {
  return table(
    ["CASE", "PASSED", "FAILED", "ERRORS", "FIRST FLAW"],
    cases.map(({ key, counts, flaws: [flaw] }) => [
      shorten(key, 60),
      String(counts?.passed ?? 0),
      String(counts?.failed ?? 0),
      String(counts?.errors ?? 0),
      flaw === undefined ? "" : shorten([flaw.check, flaw.message].filter((text) => text !== "").join(": "), 100),
    ]),
  );
}

function verdictText(scorecard: Scorecard | undefined): string {
  return scorecard?.gate === undefined ? "" : enumName(GateVerdictSchema, scorecard.gate.verdict);
}

function thresholdsText(thresholds: EvalThresholds | undefined): string {
  if (thresholds === undefined) return "";
  const { minPassRate = 0, confidence = 0, maxRegression = 0, minRepeats = 0 } = thresholds;
  return `${percent(minPassRate)} pass, down by ${percent(maxRegression)} at most, ${minRepeats} trials a case, confidence ${percent(confidence)}`;
}

function targetText({ spec }: Evaluation): string {
  const target = spec?.target?.target;
  if (target?.case === "agent") return target.value.agentId;
  if (target?.case === "handler") return target.value;
  return target?.case === "recorded" ? `${target.value.runs.length} runs on record` : "";
}

function estimateText(estimate: Estimate | undefined): string {
  if (estimate === undefined) return "";
  return `${percent(estimate.value)} (${percent(estimate.lower)} to ${percent(estimate.upper)})`;
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}
