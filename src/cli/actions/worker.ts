import type { Logger } from "pino";
import { createAgentHandler } from "../../engine/agent/agent.ts";
import { createEvaluateHandler, evaluateHandler } from "../../engine/evals/evaluate.ts";
import { builtInHandlers } from "../../engine/handlers.ts";
import { createWorker, type Worker } from "../../engine/worker.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { WorkerOptions } from "../commands/serving.ts";
import { createLogger } from "../logger.ts";
import { openModels } from "../models.ts";
import { readSettings, type Settings } from "../settings.ts";
import { openTools } from "../tools.ts";

/** `signalbox worker`: works until it is told to stop. */
export async function work(
  { env, output, signal }: Cli,
  { queues, concurrency, transport }: WorkerOptions,
): Promise<ExitCode> {
  const settings = readSettings(env);
  const log = createLogger(settings.logLevel, output.logStream);
  await using worker = await builtInWorker({ ...settings, env }, log, { queues, concurrency, transport });
  const handlers = [...Object.keys(builtInHandlers), "agent", evaluateHandler];
  const text = `worker ${worker.workerId} claims runs of ${handlers.join(", ")} at ${settings.url}`;
  output.show({ workerId: worker.workerId, url: settings.url, handlers }, text);
  await worker.run(signal);
  return exitCodes.ok;
}

/** Settings with the environment that tools take keys from. */
export type WorkerSettings = Settings & { readonly env: NodeJS.ProcessEnv };

/** A worker with the built-in handlers and tools, agents among them, for the server that the settings name. */
export async function builtInWorker(
  settings: WorkerSettings,
  log: Logger,
  { queues, concurrency, transport }: Partial<WorkerOptions> = {},
): Promise<Worker> {
  const { url, token, workspaceId, drainTimeoutMs, traceContent } = settings;
  const { models, defaultModel } = await openModels(settings);
  await using opening = new AsyncDisposableStack();
  const { tools } = opening.use(await openTools(settings, settings.env, log));
  const worker = createWorker({
    baseUrl: url,
    token,
    workspaceId,
    handlers: {
      ...builtInHandlers,
      agent: createAgentHandler({ defaultModel }),
      [evaluateHandler]: createEvaluateHandler({ judgeModel: defaultModel }),
    },
    models,
    tools,
    telemetry: { captureContent: traceContent },
    drainTimeoutMs,
    concurrency,
    transport,
    log,
    queues,
  });
  opening.use(worker);
  const open = opening.move();
  return { ...worker, [Symbol.asyncDispose]: () => open.disposeAsync() };
}
