import type { Logger } from "pino";
import { builtInHandlers } from "../../engine/handlers.ts";
import { createWorker, type Worker } from "../../engine/worker.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { WorkerOptions } from "../commands/serving.ts";
import { createLogger } from "../logger.ts";
import { readSettings, type Settings } from "../settings.ts";

/** `signalbox worker`: works until it is told to stop. */
export async function work({ env, output, signal }: Cli, { queues, concurrency }: WorkerOptions): Promise<ExitCode> {
  const settings = readSettings(env);
  const log = createLogger(settings.logLevel, output.logStream);
  await using worker = builtInWorker(settings, log, { queues, concurrency });
  const handlers = Object.keys(builtInHandlers);
  const text = `worker ${worker.workerId} claims runs of ${handlers.join(", ")} at ${settings.url}`;
  output.show({ workerId: worker.workerId, url: settings.url, handlers }, text);
  await worker.run(signal);
  return exitCodes.ok;
}

/** A worker with the built-in handlers for the server that the settings name. */
export function builtInWorker(
  { url, token, workspaceId, drainTimeoutMs }: Pick<Settings, "url" | "token" | "workspaceId" | "drainTimeoutMs">,
  log: Logger,
  { queues, concurrency }: Partial<WorkerOptions> = {},
): Worker {
  return createWorker({
    baseUrl: url,
    token,
    workspaceId,
    handlers: builtInHandlers,
    drainTimeoutMs,
    concurrency,
    log,
    queues,
  });
}
