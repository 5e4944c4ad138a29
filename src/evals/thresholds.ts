import { create } from "@bufbuild/protobuf";
import { type EvalThresholds, EvalThresholdsSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

const defaults = { minPassRate: 0.8, confidence: 0.95, maxRegression: 0.1, minRepeats: 3 } as const;

/**
 * Thresholds with every field set: those of `first`, else those of `then`, else the defaults. INVALID_REQUEST when together they
 * can never be met.
 */
export function completeThresholds(first?: EvalThresholds, then?: EvalThresholds): EvalThresholds {
  const minPassRate = first?.minPassRate ?? then?.minPassRate ?? defaults.minPassRate;
  const confidence = first?.confidence ?? then?.confidence ?? defaults.confidence;
  if (minPassRate === 1 && confidence > 0) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "thresholds.min_pass_rate is 1, which no number of trials can show; lower it, or set confidence to 0 to go by what was seen",
      { field: "thresholds.min_pass_rate" },
    );
  }
  return create(EvalThresholdsSchema, {
    minPassRate,
    confidence,
    maxRegression: first?.maxRegression ?? then?.maxRegression ?? defaults.maxRegression,
    minRepeats: first?.minRepeats ?? then?.minRepeats ?? defaults.minRepeats,
  });
}
