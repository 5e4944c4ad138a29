import { inParallel, type Load, summarize } from "./load.ts";

/** Who has submitted something waits here for its end, which may come before the answer to the submission. */
export interface Board {
  /** It has ended. */
  finish(id: string): void;
  /** Resolves when it has ended. */
  done(id: string): Promise<void>;
}

/** A board on which nothing has ended yet. */
export function createBoard(): Board {
  const entries = new Map<string, PromiseWithResolvers<void>>();
  function entryOf(id: string): PromiseWithResolvers<void> {
    const entry = entries.get(id) ?? Promise.withResolvers<void>();
    entries.set(id, entry);
    return entry;
  }
  return {
    finish: (id) => entryOf(id).resolve(),
    async done(id) {
      await entryOf(id).promise;
      entries.delete(id);
    },
  };
}

/** What to do how often. */
export interface Submissions {
  /** Submits one and returns its id. */
  readonly submit: () => Promise<string>;
  readonly board: Board;
  readonly count: number;
}

/** Submits one after the other, each when the one before has ended. Latencies are from submission to end. */
export async function submitOneByOne({ submit, board, count }: Submissions): Promise<Load> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  for (let i = 0; i < count; i++) {
    const begunAt = performance.now();
    await board.done(await submit());
    latencies.push(performance.now() - begunAt);
  }
  return summarize(latencies, performance.now() - startedAt);
}

/** Submits so many at a time without waiting for their ends. Returns how many have ended a second, up to the last end. */
export async function submitMany({ submit, board, count }: Submissions, concurrency: number): Promise<number> {
  const ends: Promise<void>[] = [];
  const startedAt = performance.now();
  await inParallel(count, concurrency, async () => void ends.push(board.done(await submit())));
  await Promise.all(ends);
  return (count / (performance.now() - startedAt)) * 1000;
}
