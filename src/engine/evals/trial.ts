import type { EvalCase } from "../../../gen/signalbox/v1/eval_pb.ts";

/** What a run consumed and how long it took. */
export interface Measured {
  readonly runId: string;
  /** From its creation to its end. */
  readonly latencyMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costMicros: number;
}

/** What came of a trial. An error says nothing about the target: it is neither a pass nor a failure. */
export type Outcome =
  | { readonly kind: "passed" }
  | {
      readonly kind: "failed" | "error";
      /** The check that says so; empty for the run itself. */
      readonly check: string;
      readonly message: string;
    };

/** One answer to a case, judged. */
export interface Trial {
  /** From 1. */
  readonly repeat: number;
  readonly outcome: Outcome;
  /** Undefined when nothing was run, or nothing is known of the run. */
  readonly measured: Measured | undefined;
}

/** A case and its trials, none of which may have been made. */
export interface TriedCase {
  readonly evalCase: EvalCase;
  readonly trials: readonly Trial[];
}
