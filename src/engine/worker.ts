import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import packageJson from "../../package.json" with { type: "json" };
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { WorkerStatus } from "../../gen/signalbox/v1/worker_pb.ts";
import { pause } from "../client/backoff.ts";
import { createSignalboxClient, type SignalboxClient } from "../client/client.ts";
import { createToolRegistry } from "../tools/registry.ts";
import { type Attempt, startAttempt } from "./attempt.ts";
import { createTroubleLog } from "./claims.ts";
import type { Equipment } from "./context.ts";
import type { DefinedHandler } from "./define-handler.ts";
import type { Handler } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";
import { createHandlerTable } from "./handler-table.ts";
import { createHeartbeatThread } from "./heartbeat-threads.ts";
import { createHeartbeats, type Heartbeats } from "./heartbeats.ts";
import type { Claim, Engine } from "./lease.ts";
import { singleCalls } from "./link.ts";
import { silentLog, type WorkerLog } from "./log.ts";
import { publishHandler } from "./publish-handlers.ts";
import { startReporting } from "./reporting.ts";
import { createSlots } from "./slots.ts";
import { createTelemetry } from "./telemetry.ts";
import { streamedCalls } from "./work-stream.ts";
import { checkOptions, clientOptions, type WorkerOptions } from "./worker-options.ts";

/** Claims runs and works on them. */
export interface Worker extends AsyncDisposable {
  readonly workerId: string;
  /**
   * Adds a handler, before `run`; one with an `agent` is published when the worker starts. Throws a TypeError or RangeError
   * for a name that is taken or can not be one.
   */
  handle(name: string, handler: Handler | DefinedHandler): void;
  /**
   * Works until the signal aborts, then takes no more runs, lets the running ones end within drainTimeoutMs and gives the
   * others back. Outlasts a server that is away; rejects when the server refuses the worker for good: its credentials, the
   * names of its handlers. Runs once.
   */
  run(signal?: AbortSignal): Promise<void>;
  /** Stops, as an aborted signal does, and resolves when that is done. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How long giving runs back may take. */
const releaseTimeoutMs = 5_000;
/** The most runs that a report names. */
const maxReportedRuns = 100;
const defaultMaxBlockedMs = 5 * 60_000;

/** Creates a worker; it connects when it runs. Throws a TypeError or RangeError for options that make no sense. */
export function createWorker(options: WorkerOptions): Worker {
  const { queues = ["default"], concurrency = 4, drainTimeoutMs = 10_000, log = silentLog, replayPatienceMs } = options;
  const workerId = options.workerId ?? `${hostname().slice(0, 150)}-${process.pid}-${randomBytes(4).toString("hex")}`;
  const handlers = createHandlerTable();
  checkOptions(queues, concurrency, workerId);
  if (options.handlers !== undefined && Object.keys(options.handlers).length === 0) throw new RangeError(noHandlers);
  for (const [name, handler] of Object.entries(options.handlers ?? {})) handlers.add(name, handler);
  const client = options.client ?? createSignalboxClient(clientOptions(options));
  const slots = createSlots(concurrency);
  const attempts = new Set<Attempt>();
  const stopping = new AbortController();
  const { version = packageJson.version } = options;
  const about = { workerId, host: hostname().slice(0, 200), pid: process.pid, version, startTime: timestampNow() };
  const link =
    options.transport === "stream"
      ? streamedCalls({ engine: client.engine, concurrency, describe, log })
      : singleCalls(client, concurrency);
  const { engine } = link;
  const heartbeats = openHeartbeats(options, engine, workerId, log);
  const equipment = equipmentOf(options, client, engine);
  let changed = () => {};
  let running: Promise<void> | undefined;

  function describe() {
    const all = Array.from(attempts, ({ run }) => run.runId);
    const runIds = all.slice(0, maxReportedRuns);
    const status = stopping.signal.aborted ? WorkerStatus.DRAINING : WorkerStatus.ACTIVE;
    return { ...about, queues: [...queues], handlers: handlers.names(), concurrency, status, busy: all.length, runIds };
  }

  function onError(error: unknown, run?: Run): void {
    try {
      options.onError?.(error, run);
    } catch (err) {
      log.error({ err }, "onError threw");
    }
  }

  function onClaim(claim: Claim): void {
    const handler = handlers.get(claim.run.handler) ?? missingHandler;
    const attempt = startAttempt({ equipment, heartbeats, handler, log, onError, replayPatienceMs }, claim);
    attempts.add(attempt);
    changed();
    void attempt.done.finally(() => {
      attempts.delete(attempt);
      slots.free();
      changed();
    });
  }

  async function claimAll(): Promise<void> {
    const onTrouble = createTroubleLog(log, onError);
    const claiming = { queues, handlers: handlers.names(), workerId, slots, onClaim, onTrouble };
    await link.claim(claiming, stopping.signal).finally(() => stopping.abort());
  }

  function publish(): void {
    for (const [name, handler] of handlers.defined()) {
      if (handler.agent === undefined) continue;
      publishHandler(client.agents, name, handler, stopping.signal).catch((error: unknown) => {
        if (stopping.signal.aborted) return;
        log.error({ err: error, handler: name }, "the agent of a handler could not be published");
        onError(error);
      });
    }
  }

  async function drain(): Promise<void> {
    const finished = new AbortController();
    void Promise.all([...attempts].map(({ done }) => done)).then(() => finished.abort());
    await pause(drainTimeoutMs, finished.signal);
    const left = [...attempts];
    if (left.length === 0) return;
    log.warn({ run_ids: left.map(({ run }) => run.runId) }, "handlers have not ended in time; giving their runs back");
    const signal = AbortSignal.timeout(releaseTimeoutMs);
    await Promise.all(left.map((attempt) => attempt.giveBack("the worker is shutting down", signal)));
  }

  async function work(signal: AbortSignal | undefined): Promise<void> {
    const stop = () => stopping.abort();
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    log.info({ worker_id: workerId, queues, handlers: handlers.names(), concurrency }, "worker started");
    publish();
    using reporting = startReporting({ engine, describe, log });
    ({ changed } = reporting);
    stopping.signal.addEventListener("abort", changed);
    try {
      await claimAll();
    } finally {
      signal?.removeEventListener("abort", stop);
      await drain();
      log.info({ worker_id: workerId }, "worker stopped");
    }
  }

  return {
    workerId,
    handle(name, handler) {
      if (running !== undefined) throw new Error("a worker that runs takes no more handlers; add them before run()");
      handlers.add(name, handler);
    },
    run(signal) {
      if (running !== undefined) throw new Error("a worker runs once; create another one");
      if (handlers.names().length === 0) throw new RangeError(noHandlers);
      running = work(signal);
      return running;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      // Whoever called run() hears of its error.
      await running?.catch(() => {});
      await heartbeats[Symbol.asyncDispose]();
      await link[Symbol.asyncDispose]();
      if (options.client === undefined) client.close();
    },
  };
}

/** From a thread of their own where that can reach the server. */
function openHeartbeats(options: WorkerOptions, engine: Engine, workerId: string, log: WorkerLog): Heartbeats {
  const { baseUrl, protocol, httpVersion, token, workspaceId, headers, maxBlockedMs = defaultMaxBlockedMs } = options;
  const instead = createHeartbeats(engine);
  if (options.client !== undefined || baseUrl === undefined) return instead;
  const client = { baseUrl, protocol, httpVersion, token, workspaceId, headers };
  return createHeartbeatThread({ instead, log, client, workerId, maxBlockedMs });
}

function equipmentOf(
  { tools = [], models, telemetry, longestHeldSleepMs = 1_000 }: WorkerOptions,
  client: SignalboxClient,
  engine: Engine,
): Equipment {
  const registry = "check" in tools ? tools : createToolRegistry(tools);
  return { client, engine, tools: registry, models, telemetry: createTelemetry(telemetry), longestHeldSleepMs };
}

const noHandlers = "a worker has 1 to 100 handlers; got 0";

function missingHandler(): never {
  throw new HandlerError("HANDLER_MISSING", "the server gave this worker a run of a handler that it does not have");
}

export type { JsonValue } from "../client/json.ts";
export { type Artifact, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
export { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
export { type DefinedHandler, defineHandler, type HandlerAgent, type HandlerDefinition } from "./define-handler.ts";
export type { ArtifactContent } from "./artifact-content.ts";
export type {
  ApprovalRequest,
  ApprovalTermsOptions,
  ArtifactOptions,
  ChildRun,
  EmittedDelta,
  Handler,
  HandlerContext,
  ModelOptions,
  NameOptions,
  StepOptions,
  StepRetry,
  StepScope,
  ToolCallOptions,
  ToolFunction,
  ToolOptions,
} from "./handler.ts";
export {
  ChildRunError,
  HandlerError,
  RunStoppedError,
  type StopCause,
  ToolOutcomeUnknownError,
} from "./handler-error.ts";
export { createEvaluateHandler, evaluateHandler, type EvaluateOptions } from "./evals/evaluate.ts";
export { builtInHandlers } from "./handlers.ts";
export type { WorkerLog } from "./log.ts";
export type { WorkerOptions } from "./worker-options.ts";
export { type AgentHandlerOptions, type AgentOutput, createAgentHandler } from "./agent/agent.ts";
export type { Summarise, SummaryRequest } from "./agent/compaction.ts";
export * from "../models/model.ts";
export {
  createMockModel,
  type MockModel,
  type MockReply,
  type MockRule,
  type MockScript,
} from "../models/mock-model.ts";
export { createModels, type ModelsOptions } from "../models/models.ts";
export { defineTool } from "../tools/define-tool.ts";
export { createToolRegistry, type ToolRegistry, type ToolSource } from "../tools/registry.ts";
export type { Tool, ToolOutcome, ToolPack, ToolScope } from "../tools/tool.ts";
export { ToolError } from "../tools/tool-error.ts";
