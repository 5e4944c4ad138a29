import { createWorker } from "../../src/engine/worker.ts";
import { answerQuestions } from "../support/answer.ts";
import { createLogger } from "../support/logger.ts";

const resources = new AsyncDisposableStack();

const functions = {
  /** Works on runs of the handler `echo` until the process ends. */
  open({ url, concurrency }: { url: string; concurrency: number }): void {
    const log = createLogger();
    const worker = resources.use(
      createWorker({ baseUrl: url, concurrency, log, handlers: { echo: (_context, input) => input } }),
    );
    worker.run().catch((error: unknown) => log.fatal({ err: error }, "the worker has ended"));
  },
};

/** A worker of Signalbox in a process of its own. */
export type WorkerProcess = typeof functions;

answerQuestions(functions, resources);
