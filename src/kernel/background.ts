import type { Logger } from "pino";
import { sleep } from "./wait.ts";

/** Work that nobody waits for. */
export interface Background {
  /** Does it as soon as it is its turn, again when it fails; `failed` is called when it has failed for good. */
  start(work: () => Promise<unknown>, failed?: () => void): void;
}

interface Piece {
  readonly work: () => Promise<unknown>;
  readonly failed: (() => void) | undefined;
}

/** Pieces of work under way at the same time: each is a write to the log or two. */
const concurrency = 32;
/** The pauses before each repetition. */
const pausesMs = [100, 1_000, 5_000];

/** Works until the signal aborts; what is left then stays undone. */
export function createBackground(log: Logger, signal: AbortSignal): Background {
  let waiting: Piece[] = [];
  let first = 0;
  let hands = 0;

  function next(): Piece | undefined {
    const piece = waiting[first++];
    // Cuts in large pieces: shifting one by one would move the whole array each time.
    if (piece === undefined || first > 1_024) {
      waiting = waiting.slice(first);
      first = 0;
    }
    return signal.aborted ? undefined : piece;
  }

  async function workOff(): Promise<void> {
    for (let piece = next(); piece !== undefined; piece = next()) await perform(piece);
    hands--;
  }

  async function perform({ work, failed }: Piece): Promise<void> {
    for (const pauseMs of [...pausesMs, undefined]) {
      try {
        await work();
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: error, pauseMs }, "reaction failed");
      }
      if (pauseMs !== undefined) await sleep(pauseMs, signal);
    }
    failed?.();
  }

  return {
    start(work, failed) {
      waiting.push({ work, failed });
      if (hands === concurrency) return;
      hands++;
      void workOff();
    },
  };
}
