import { createEvaluateHandler, evaluateHandler } from "../../src/engine/evals/evaluate.ts";
import { createWorker, type Handler } from "../../src/engine/worker.ts";
import { answerQuestions } from "../support/answer.ts";
import { createLogger } from "../support/logger.ts";

const resources = new AsyncDisposableStack();

/** How many steps a run of the handler `steps` records. */
const stepCount = 10;

const handlers = {
  echo: (_context, input) => input,
  steps: async (context, input) => {
    for (let step = 1; step <= stepCount; step++) await context.step(`step-${step}`, () => step);
    return input;
  },
  asks: async (context, input) => {
    await context.approve({ action: "benchmark.act", payload: input });
    return input;
  },
  [evaluateHandler]: createEvaluateHandler(),
} satisfies Record<string, Handler>;

/** What a worker works on, and how. */
interface WorkerShape {
  readonly url: string;
  readonly concurrency: number;
  readonly queue?: string;
  readonly transport?: "unary" | "stream";
}

const functions = {
  /** Works on runs of the handlers `echo`, `steps` and `asks`, and on evaluations, until the process ends. */
  open({ url, concurrency, queue = "default", transport = "unary" }: WorkerShape): void {
    const log = createLogger();
    const worker = resources.use(
      createWorker({ baseUrl: url, concurrency, queues: [queue], transport, log, handlers }),
    );
    worker.run().catch((error: unknown) => log.fatal({ err: error }, "the worker has ended"));
  },
};

/** A worker of Signalbox in a process of its own. */
export type WorkerProcess = typeof functions;

answerQuestions(functions, resources);
