import { afterEach } from "vitest";
import {
  createWorker,
  type DefinedHandler,
  type Handler,
  type Worker,
  type WorkerOptions,
} from "../../src/engine/worker.ts";
import type { FakeEngine, FakeRun } from "./fake-engine.ts";

const workers: Worker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker[Symbol.asyncDispose]()));
});

/** A worker that runs until the test ends. */
export function startWorker(engine: FakeEngine, options: WorkerOptions): { worker: Worker; running: Promise<void> } {
  const worker = createWorker({ client: engine.client, drainTimeoutMs: 1_000, ...options });
  const running = worker.run();
  // Tests that expect an error look at it themselves.
  running.catch(() => {});
  workers.push(worker);
  return { worker, running };
}

/** How a run of one handler ends. */
export async function outcomeOf(
  engine: FakeEngine,
  handler: Handler | DefinedHandler,
  init: Parameters<FakeEngine["submit"]>[0] = {},
  options: Partial<WorkerOptions> = {},
) {
  const run: FakeRun = engine.submit({ handler: "it", ...init });
  startWorker(engine, { ...options, handlers: { ...options.handlers, it: handler } });
  return { run, ...(await engine.ended(run)) };
}

/** A handler that does one thing in its first attempt, which then crashes, and another in the later ones. */
export function changing(first: Handler, later: Handler): Handler {
  return async (ctx, input) => {
    if (ctx.attempt > 1) return later(ctx, input);
    await first(ctx, input);
    throw new Error("crashed");
  };
}
