import type { Figure } from "../report/figure.ts";

/** What every benchmark is given. */
export interface Bench {
  /** How long one side of one measurement is pressed in one round; amounts of work are scaled by it. */
  readonly seconds: number;
  /** Says what is going on, to people who wait. */
  progress(text: string): void;
  /** Aborts when the whole thing should stop. */
  readonly signal: AbortSignal;
}

/** One benchmark: starts what it needs, measures, and leaves nothing behind. */
export interface Benchmark {
  readonly name: string;
  /** What it measures, for `--help`. */
  readonly summary: string;
  run(bench: Bench): Promise<Figure[]>;
}
