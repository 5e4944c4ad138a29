import type { Bench } from "./bench.ts";

/** What one side of a comparison came to in one round, by the name of the figure. */
export type Sample = Readonly<Record<string, number>>;

/** The samples of each side, one per round, in the order of the rounds. */
export type Samples<Side extends string> = Readonly<Record<Side, readonly Sample[]>>;

/** One figure of every sample; NaN where it is missing. */
export function values(samples: readonly Sample[], key: string): number[] {
  return samples.map((sample) => sample[key] ?? Number.NaN);
}

/** How often each side is measured. */
const rounds = 5;

/**
 * Measures the sides in turns, A B A B …, so that whatever else the machine does hits all of them alike. The first turn
 * of each only warms up and does not count.
 */
export async function inTurns<Side extends string>(
  { progress, signal }: Pick<Bench, "progress" | "signal">,
  what: string,
  sides: Readonly<Record<Side, () => Promise<Sample>>>,
  count: number = rounds,
): Promise<Samples<Side>> {
  const names = Object.keys(sides) as Side[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as Sample[]])) as Record<Side, Sample[]>;
  for (let round = 0; round <= count; round++) {
    progress(`${what}: ${round === 0 ? "warming up" : `round ${round} of ${count}`}`);
    for (const name of names) {
      signal.throwIfAborted();
      const sample = await sides[name]();
      if (round > 0) samples[name].push(sample);
    }
  }
  return samples;
}
