import { create } from "@bufbuild/protobuf";
import { EvalCaseSchema } from "../../../gen/signalbox/v1/eval_pb.ts";
import type { GateTerms } from "../../../src/engine/evals/gate.ts";
import { type Baseline, scorecardOf } from "../../../src/engine/evals/scorecard.ts";
import type { Trial, TriedCase } from "../../../src/engine/evals/trial.ts";
import { createSeeded } from "../../support/seeded.ts";

/** The terms of a gate that says nothing else. */
export const terms: GateTerms = { minPassRate: 0.8, confidence: 0.95, maxRegression: 0.1, minRepeats: 3 };

/** A trial with this outcome. */
function trial(kind: Trial["outcome"]["kind"], repeat = 1): Trial {
  const outcome = kind === "passed" ? { kind } : { kind, check: "exact", message: "no" };
  return { repeat, outcome, measured: undefined };
}

/** A case with so many trials of each outcome. */
export function tried(key: string, passed: number, failed = 0, errors = 0, weight = 1): TriedCase {
  const kinds = [
    ...Array.from({ length: passed }, () => "passed" as const),
    ...Array.from({ length: failed }, () => "failed" as const),
    ...Array.from({ length: errors }, () => "error" as const),
  ];
  const evalCase = create(EvalCaseSchema, { key, weight });
  return { evalCase, trials: kinds.map((kind, index) => trial(kind, index + 1)) };
}

/** An agent that passes each case by chance: how likely it passes the first, the second, … */
export interface Agent {
  readonly passRates: readonly number[];
}

/** What an agent shows in one evaluation; another one for each seed. */
export function tries({ passRates }: Agent, repeats: number, seed: number): TriedCase[] {
  const chance = createSeeded(seed);
  return passRates.map((rate, index) => {
    const passed = Array.from({ length: repeats }, () => chance.below(1_000_000) < rate * 1_000_000).filter(
      Boolean,
    ).length;
    return tried(`case-${index}`, passed, repeats - passed);
  });
}

/** An evaluation as the baseline of others. */
export function baselineOf(cases: readonly TriedCase[]): Baseline {
  return { evaluationId: "run_baseline", cases: scorecardOf(cases, terms, undefined).cases };
}
