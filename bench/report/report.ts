import type { Figure } from "./figure.ts";
import type { Machine } from "./machine.ts";

/** Everything that one run of the benchmarks has found. Its JSON form is what is kept in bench/results. */
export interface Report {
  /** When it began, as an ISO 8601 text. */
  readonly startTime: string;
  readonly machine: Machine;
  /** What was given as `--seconds`. */
  readonly seconds: number;
  /** By benchmark, in the order in which they ran. */
  readonly figures: Readonly<Record<string, readonly Figure[]>>;
}
