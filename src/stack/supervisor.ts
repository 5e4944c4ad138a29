import type { Logger } from "pino";
import { aborted, sleep } from "../kernel/wait.ts";
import { type Child, type Program, startChild } from "./child.ts";
import { StackError, errorMessage } from "./stack-error.ts";

/** What supervising needs besides the program. */
export interface Supervision {
  log: Logger;
  /** Called once, when the program is given up after repeated deaths. */
  onFatal(error: StackError): void;
  /** Aborts the first start. */
  signal: AbortSignal;
  /** How often the program may die within which time; default 5 times within 60,000 ms. */
  patience?: Patience;
}

/** A program that has died `deaths` times within `windowMs` milliseconds is given up; so is one that fails to start as often. */
export interface Patience {
  readonly deaths: number;
  readonly windowMs: number;
}

// 100, 300, 900, 2700 ms: together long enough for the backends of a killed Postgres to notice and go.
const firstDelayMs = 100;
const delayFactor = 3;
const maxDelayMs = 5_000;

/**
 * Starts the program, returns once it is ready, and starts it again with growing pauses whenever it dies. A first start
 * that fails is not repeated. Disposing stops the program; disposing twice is fine.
 * @throws StackError when the first start fails.
 */
export async function supervise(program: Program, supervision: Supervision): Promise<AsyncDisposable> {
  const stopping = new AbortController();
  const first = await startChild(program, supervision.log, supervision.signal);
  const watching = watch(first, program, supervision, stopping.signal);
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await watching;
    },
  };
}

async function watch(first: Child, program: Program, supervision: Supervision, stopping: AbortSignal): Promise<void> {
  const { log, onFatal, patience = { deaths: 5, windowMs: 60_000 } } = supervision;
  const stopped = aborted(stopping);
  let deaths: number[] = [];
  let child: Child | undefined = first;
  let how = "";
  for (;;) {
    if (child !== undefined) {
      await Promise.race([child.exited, stopped]);
      if (stopping.aborted) return child.stop();
      how = `it ${await child.exited}`;
    }
    if (stopping.aborted) return;
    const now = performance.now();
    // Starts that fail are never forgiven, however long each one takes.
    if (child !== undefined) deaths = deaths.filter((death) => death > now - patience.windowMs);
    deaths.push(now);
    if (deaths.length >= patience.deaths) return onFatal(givenUp(program, how, deaths));
    const delayMs = Math.min(firstDelayMs * delayFactor ** (deaths.length - 1), maxDelayMs);
    log.warn({ program: program.name, how, deaths: deaths.length, delayMs }, "program died; starting it again");
    await sleep(delayMs, stopping);
    child = await startChild(program, log, stopping).catch((error: unknown) => {
      how = errorMessage(error);
      return undefined;
    });
  }
}

function givenUp(program: Program, how: string, deaths: number[]): StackError {
  const seconds = Math.ceil((performance.now() - (deaths[0] ?? 0)) / 1000);
  return new StackError(
    `${program.name} died ${deaths.length} times within ${seconds} s and is given up; the last time: ${how}`,
    `Its log is ${program.logFile}. Solve what it says there and start signalbox again.`,
  );
}
