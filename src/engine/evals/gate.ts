import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type GateDecision,
  GateDecisionSchema,
  type GateReasonSchema,
  GateVerdict,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import type { Estimated } from "./statistics.ts";

/** What a gate goes by, all of it set. */
export interface GateTerms {
  readonly minPassRate: number;
  readonly confidence: number;
  readonly maxRegression: number;
  readonly minRepeats: number;
}

/** What is known of an evaluation. */
export interface GateEvidence {
  /** How many cases there are to be tried. */
  readonly caseCount: number;
  /** The fewest trials, errors not counted, of any case, and which case that is. */
  readonly fewest: { readonly key: string; readonly trials: number } | undefined;
  /** The pass rate as if all errors had failed, and as if all had passed; undefined without a trial. */
  readonly passRate: { readonly worst: Estimated; readonly best: Estimated } | undefined;
  /** Undefined when there is no baseline. */
  readonly baseline: GateBaseline | undefined;
}

/** How an evaluation compares with its baseline. */
export interface GateBaseline {
  readonly comparedCases: number;
  /** The difference as if all errors had failed, and as if all had passed; undefined without a case in common. */
  readonly difference: { readonly worst: Estimated; readonly best: Estimated } | undefined;
}

type Reason = MessageInitShape<typeof GateReasonSchema>;

const { PASS, FAIL, INCONCLUSIVE } = GateVerdict;
/** What sums of shares may be off by: 4 of 5 cases are 0.8. */
const rounding = 1e-9;

/**
 * PASS when every claim is shown, FAIL when one is refuted, else INCONCLUSIVE. A claim is shown when the whole interval is on
 * the good side of its threshold, refuted when all of it is on the bad side; so two evaluations of the same agent hardly ever
 * say PASS and FAIL, however near to a threshold it is. Too few trials are never a verdict. Pure.
 */
export function decideGate(terms: GateTerms, evidence: GateEvidence): GateDecision {
  const lack = lacking(terms, evidence);
  if (lack !== undefined) return decision([lack]);
  const { passRate, baseline } = evidence;
  return decision([
    ...(passRate === undefined ? [] : [passRateReason(terms, passRate)]),
    ...(baseline === undefined ? [] : [regressionReason(terms, baseline)]),
  ]);
}

function lacking({ minRepeats }: GateTerms, { caseCount, fewest, passRate }: GateEvidence): Reason | undefined {
  if (caseCount === 0 || fewest === undefined) {
    return reason("CASES", INCONCLUSIVE, "no case was tried: there is nothing to judge by");
  }
  if (passRate === undefined || fewest.trials < minRepeats) {
    return reason(
      "REPEATS",
      INCONCLUSIVE,
      `case ${fewest.key} has ${fewest.trials} trials without an error, the least is ${minRepeats}; repeat it more often, or mend the errors`,
    );
  }
  return undefined;
}

function passRateReason(terms: GateTerms, { worst, best }: { worst: Estimated; best: Estimated }): Reason {
  const { minPassRate } = terms;
  const seen = `the pass rate is ${percent(worst.value)} (${range(worst, best)})`;
  if (worst.lower >= minPassRate - rounding)
    return reason("PASS_RATE", PASS, `${seen}, at least ${percent(minPassRate)}`);
  if (best.upper < minPassRate - rounding) return reason("PASS_RATE", FAIL, `${seen}, below ${percent(minPassRate)}`);
  return reason("PASS_RATE", INCONCLUSIVE, `${seen}, which may be on either side of ${percent(minPassRate)}; ${more}`);
}

function regressionReason({ maxRegression }: GateTerms, { difference }: GateBaseline): Reason {
  if (difference === undefined) {
    return reason(
      "BASELINE",
      INCONCLUSIVE,
      "the baseline has no case in common with this evaluation; take another one",
    );
  }
  const { worst, best } = difference;
  const seen = `the pass rate has changed by ${points(worst.value)} against the baseline (${range(worst, best, points)})`;
  if (worst.lower >= -maxRegression - rounding) {
    return reason("REGRESSION", PASS, `${seen}, no further down than ${points(-maxRegression)}`);
  }
  if (best.upper < -maxRegression - rounding)
    return reason("REGRESSION", FAIL, `${seen}, further down than ${points(-maxRegression)}`);
  return reason(
    "REGRESSION",
    INCONCLUSIVE,
    `${seen}, which may be on either side of ${points(-maxRegression)}; ${more}`,
  );
}

const more = "more repeats or more cases would tell";

function decision(reasons: readonly Reason[]): GateDecision {
  const verdicts = reasons.map(({ verdict }) => verdict);
  const shown = verdicts.length > 0 && verdicts.every((verdict) => verdict === PASS);
  const verdict = verdicts.includes(FAIL) ? FAIL : shown ? PASS : INCONCLUSIVE;
  return create(GateDecisionSchema, { verdict, reasons: [...reasons] });
}

function reason(code: string, verdict: GateVerdict, message: string): Reason {
  return { code, verdict, message };
}

function range(worst: Estimated, best: Estimated, show: (x: number) => string = percent): string {
  return `${show(worst.lower)} to ${show(best.upper)}`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function points(difference: number): string {
  return `${difference > 0 ? "+" : ""}${(difference * 100).toFixed(1)} points`;
}
