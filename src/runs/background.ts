import type { Logger } from "pino";
import { sleep } from "../kernel/wait.ts";

/** Work that nobody waits for. */
export interface Background {
  /** Does it as soon as it is its turn, again when it fails; `failed` is called when it has failed for good. */
  start(work: () => Promise<unknown>, failed?: () => void): void;
}

/** Pieces of work under way at the same time: each is a write to the log or two. */
const concurrency = 32;
/** The pauses before each repetition. */
const pausesMs = [100, 1_000, 5_000];

/** Works until the signal aborts; what is left then stays undone. */
export function createBackground(log: Logger, signal: AbortSignal): Background {
  const waiting: (() => Promise<void>)[] = [];
  let first = 0;
  let running = 0;

  async function perform(work: () => Promise<unknown>, failed?: () => void): Promise<void> {
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

  function next(): void {
    const piece = waiting[first++];
    if (first > 1_024 && first * 2 > waiting.length) {
      waiting.splice(0, first);
      first = 0;
    }
    if (piece === undefined) {
      waiting.length = 0;
      first = 0;
      running--;
      return;
    }
    void piece().then(next);
  }

  return {
    start(work, failed) {
      if (signal.aborted) return;
      waiting.push(async () => {
        if (!signal.aborted) await perform(work, failed);
      });
      if (running === concurrency) return;
      running++;
      next();
    },
  };
}
