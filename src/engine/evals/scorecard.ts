import { createHash } from "node:crypto";
import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import {
  type BaselineComparisonSchema,
  type CaseScore,
  CaseScoreSchema,
  type EvalCase,
  EvalCaseSchema,
  type LatencySummarySchema,
  type Scorecard,
  ScorecardSchema,
  type TrialFlawSchema,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import { canonicalText } from "./canonical-text.ts";
import { decideGate, type GateBaseline, type GateTerms } from "./gate.ts";
import {
  differencePValue,
  normalQuantile,
  stratifiedDifference,
  stratifiedShare,
  type StratumPair,
  wilson,
} from "./statistics.ts";
import type { Measured, Trial, TriedCase } from "./trial.ts";

/** An evaluation that another one is held against. */
export interface Baseline {
  readonly evaluationId: string;
  readonly cases: readonly CaseScore[];
}

const maxFlaws = 5;
const maxMessageLength = 500;
const maxMoves = 20;
const maxUnmatched = 100;

/** The scorecard of an evaluation: every case with its trials, the whole, the comparison and the gate's decision. Pure. */
export function scorecardOf(tried: readonly TriedCase[], terms: GateTerms, baseline: Baseline | undefined): Scorecard {
  const z = normalQuantile(terms.confidence);
  const cases = tried.map((one) => caseScore(one, z));
  const known = cases.filter((score) => judged(score) > 0);
  const measured = tried.flatMap(({ trials }) => measuredOf(trials));
  const compared = baseline && compare(cases, baseline, z);
  const [fewest] = cases.toSorted((a, b) => judged(a) - judged(b));
  const gate = decideGate(terms, {
    caseCount: cases.length,
    fewest: fewest && { key: fewest.key, trials: judged(fewest) },
    passRate: known.length === 0 ? undefined : bounds(known, (errors) => stratifiedShare(strataOf(known, errors), z)),
    baseline: compared?.evidence,
  });
  return create(ScorecardSchema, {
    gate,
    counts: { passed: total(cases, "passed"), failed: total(cases, "failed"), errors: total(cases, "errors") },
    ...(known.length === 0 ? {} : { passRate: stratifiedShare(strataOf(known, "none"), z) }),
    cases,
    ...(compared === undefined ? {} : { baseline: compared.shown }),
    ...(measured.length === 0 ? {} : { latency: latencyOf(measured), usage: usageOf(measured) }),
  });
}

/** Tells whether two cases of the same key are the same, whatever the order of their keys. */
function caseDigest(evalCase: EvalCase): string {
  const text = canonicalText(toJson(EvalCaseSchema, { ...evalCase, weight: 0 }));
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function caseScore({ evalCase, trials }: TriedCase, z: number): CaseScore {
  const count = (kind: Trial["outcome"]["kind"]) => trials.filter(({ outcome }) => outcome.kind === kind).length;
  const counts = { passed: count("passed"), failed: count("failed"), errors: count("error") };
  const judgedTrials = counts.passed + counts.failed;
  const measured = measuredOf(trials);
  return create(CaseScoreSchema, {
    key: evalCase.key,
    weight: evalCase.weight || 1,
    digest: caseDigest(evalCase),
    counts,
    ...(judgedTrials === 0 ? {} : { passRate: wilson({ passed: counts.passed, trials: judgedTrials }, z) }),
    ...(measured.length === 0 ? {} : { latency: latencyOf(measured) }),
    costMicros: BigInt(sum(measured, ({ costMicros }) => costMicros)),
    flaws: trials.flatMap(flawsOf).slice(0, maxFlaws),
  });
}

function flawsOf({ repeat, outcome, measured }: Trial): MessageInitShape<typeof TrialFlawSchema>[] {
  if (outcome.kind === "passed") return [];
  const { kind, check, message } = outcome;
  const shown =
    message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength - 1).toWellFormed()}…`;
  return [{ runId: measured?.runId ?? "", repeat, error: kind === "error", check, message: shown }];
}

/** How errors are counted: not at all, or as if the trial had failed or passed. */
type Errors = "none" | "failed" | "passed";

/** An estimate in the worst case and in the best case of what the trials with errors would have been. */
function bounds<T>(cases: readonly CaseScore[], estimate: (errors: Errors) => T): { worst: T; best: T } {
  const worst = estimate("failed");
  return { worst, best: total(cases, "errors") === 0 ? worst : estimate("passed") };
}

function strataOf(cases: readonly CaseScore[], errors: Errors) {
  const all = sum(cases, ({ weight }) => weight);
  return cases.map((score) => ({ ...trialsOf(score, errors), weight: score.weight / all }));
}

function trialsOf({ counts }: CaseScore, errors: Errors): { passed: number; trials: number } {
  const { passed = 0, failed = 0, errors: unknown = 0 } = counts ?? {};
  if (errors === "none") return { passed, trials: passed + failed };
  return { passed: passed + (errors === "passed" ? unknown : 0), trials: passed + failed + unknown };
}

function judged(score: CaseScore): number {
  return trialsOf(score, "none").trials;
}

function compare(cases: readonly CaseScore[], { evaluationId, cases: before }: Baseline, z: number) {
  const known = new Map(before.filter((score) => judged(score) > 0).map((score) => [sameness(score), score]));
  const common = cases.flatMap((now) => {
    const other = known.get(sameness(now));
    return other === undefined || judged(now) === 0 ? [] : [{ now, before: other }];
  });
  const all = sum(common, ({ now }) => now.weight);
  const pairs = (errors: Errors): StratumPair[] =>
    common.map(({ now, before: other }) => ({
      now: trialsOf(now, errors),
      before: trialsOf(other, "none"),
      weight: now.weight / all,
    }));
  const matched = new Set(common.map(({ now }) => now.key));
  const shown: MessageInitShape<typeof BaselineComparisonSchema> = {
    evaluationId,
    comparedCases: common.length,
    unmatchedKeys: [...new Set([...cases, ...before].map(({ key }) => key))]
      .filter((key) => !matched.has(key))
      .slice(0, maxUnmatched),
    moves: common
      .map(({ now, before: other }) => ({ key: now.key, before: rateOf(other), after: rateOf(now) }))
      .filter((move) => move.before !== move.after)
      .toSorted((a, b) => a.after - a.before - (b.after - b.before))
      .slice(0, maxMoves),
    ...(common.length === 0
      ? { pValue: 1 }
      : { difference: stratifiedDifference(pairs("none"), z), pValue: differencePValue(pairs("none")) }),
  };
  const evidence: GateBaseline = {
    comparedCases: common.length,
    difference: common.length === 0 ? undefined : bounds(cases, (errors) => stratifiedDifference(pairs(errors), z)),
  };
  return { shown, evidence };
}

function sameness({ key, digest }: CaseScore): string {
  return `${key} ${digest}`;
}

function rateOf(score: CaseScore): number {
  const { passed, trials } = trialsOf(score, "none");
  return passed / trials;
}

function measuredOf(trials: readonly Trial[]): Measured[] {
  return trials.flatMap(({ measured }) => measured ?? []);
}

function latencyOf(measured: readonly Measured[]): MessageInitShape<typeof LatencySummarySchema> {
  const sorted = measured.map(({ latencyMs }) => latencyMs).toSorted((a, b) => a - b);
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { count: sorted.length, medianMs: rank(0.5), p95Ms: rank(0.95), maxMs: rank(1) };
}

function usageOf(measured: readonly Measured[]) {
  return {
    inputTokens: BigInt(sum(measured, ({ inputTokens }) => inputTokens)),
    outputTokens: BigInt(sum(measured, ({ outputTokens }) => outputTokens)),
    costMicros: BigInt(sum(measured, ({ costMicros }) => costMicros)),
  };
}

function total(cases: readonly CaseScore[], name: "passed" | "failed" | "errors"): number {
  return sum(cases, ({ counts }) => counts?.[name] ?? 0);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((before, item) => before + of(item), 0);
}
