import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { pause } from "../client/backoff.ts";
import { type ClientOptions, createSignalboxClient, type SignalboxClient } from "../client/client.ts";
import { type Attempt, startAttempt } from "./attempt.ts";
import { claimRuns, createTroubleLog } from "./claims.ts";
import type { Handler } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";
import type { Claim } from "./lease.ts";
import { silentLog, type WorkerLog } from "./log.ts";
import { createSlots } from "./slots.ts";

/** What a worker does, and for whom. Give `client`, or what createSignalboxClient takes. */
export interface WorkerOptions extends ClientOptions {
  /** The client to use. It is not closed with the worker; one that the worker made of the other options is. */
  readonly client?: SignalboxClient | undefined;
  /** The code for each handler name: 1 to 100, named with letters, digits, `_`, `:` and `-`. */
  readonly handlers: Readonly<Record<string, Handler>>;
  /** The queues to claim from, 1 to 20, default `default`. */
  readonly queues?: readonly string[] | undefined;
  /** Runs at work at the same time, 1 to 10,000, default 4. */
  readonly concurrency?: number | undefined;
  /** What people call the worker, up to 200 characters; default host name, process id and a random part. */
  readonly workerId?: string | undefined;
  /** How long running handlers may go on once the worker is told to stop, in milliseconds, default 10,000. */
  readonly drainTimeoutMs?: number | undefined;
  /** Told what handlers throw, what the server does not take of them, and, without a run, why claiming does not work. */
  readonly onError?: ((error: unknown, run?: Run) => void) | undefined;
  /** Where the worker and its handlers write, default nowhere. */
  readonly log?: WorkerLog | undefined;
}

/** Claims runs and works on them. */
export interface Worker extends AsyncDisposable {
  readonly workerId: string;
  /**
   * Works until the signal aborts, then takes no more runs, lets the running ones end within drainTimeoutMs and gives the
   * others back. Outlasts a server that is away; rejects when the server refuses the worker for good: its credentials, the
   * names of its handlers. Runs once.
   */
  run(signal?: AbortSignal): Promise<void>;
  /** Stops, as an aborted signal does, and resolves when that is done. */
  [Symbol.asyncDispose](): Promise<void>;
}

// One call could keep no more than one run on its way, and four held a busy worker at 330 runs a second where 16 reach 400.
const maxClaimers = 16;
/** How long giving runs back may take. */
const releaseTimeoutMs = 5_000;

/** Creates a worker; it connects when it runs. Throws a TypeError or RangeError for options that make no sense. */
export function createWorker(options: WorkerOptions): Worker {
  const { handlers, queues = ["default"], concurrency = 4, drainTimeoutMs = 10_000, log = silentLog } = options;
  const workerId = options.workerId ?? `${hostname().slice(0, 150)}-${process.pid}-${randomBytes(4).toString("hex")}`;
  const names = Object.keys(handlers);
  checkOptions(names, queues, concurrency, workerId);
  const client = options.client ?? createSignalboxClient(options);
  const { engine } = client;
  const slots = createSlots(concurrency);
  const attempts = new Set<Attempt>();
  const stopping = new AbortController();
  let running: Promise<void> | undefined;

  function onError(error: unknown, run?: Run): void {
    try {
      options.onError?.(error, run);
    } catch (err) {
      log.error({ err }, "onError threw");
    }
  }

  function onClaim(claim: Claim): void {
    const { handler: name } = claim.run;
    const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
    const attempt = startAttempt({ engine, handler: handler ?? missingHandler, log, onError }, claim);
    attempts.add(attempt);
    void attempt.done.finally(() => {
      attempts.delete(attempt);
      slots.free();
    });
  }

  async function claimAll(): Promise<void> {
    const onTrouble = createTroubleLog(log, onError);
    const claiming = { engine, queues, handlers: names, workerId, slots, onClaim, onTrouble };
    // One that fails for good stops the others.
    const claimers = Array.from({ length: Math.min(concurrency, maxClaimers) }, () =>
      claimRuns(claiming, stopping.signal).finally(() => stopping.abort()),
    );
    await Promise.allSettled(claimers);
    await Promise.all(claimers);
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
    log.info({ worker_id: workerId, queues, handlers: names, concurrency }, "worker started");
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
    run(signal) {
      if (running !== undefined) throw new Error("a worker runs once; create another one");
      running = work(signal);
      return running;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      // Whoever called run() hears of its error.
      await running?.catch(() => {});
      if (options.client === undefined) client.close();
    },
  };
}

function missingHandler(): never {
  throw new HandlerError("HANDLER_MISSING", "the server gave this worker a run of a handler that it does not have");
}

function checkOptions(handlers: string[], queues: readonly string[], concurrency: number, workerId: string): void {
  checkNames("handlers", handlers, 100, /^[A-Za-z0-9_:-]{1,100}$/);
  checkNames("queues", queues, 20, /^[A-Za-z0-9_-]{1,64}$/);
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
    throw new RangeError(`concurrency is a whole number from 1 to 10000; got ${concurrency}`);
  }
  if (workerId.length < 1 || workerId.length > 200) {
    throw new RangeError(`workerId has 1 to 200 characters; got ${workerId.length}`);
  }
}

function checkNames(what: string, names: readonly string[], most: number, pattern: RegExp): void {
  if (names.length < 1 || names.length > most) {
    throw new RangeError(`a worker has 1 to ${most} ${what}; got ${names.length}`);
  }
  const bad = names.find((name) => !pattern.test(name));
  if (bad !== undefined) throw new TypeError(`${JSON.stringify(bad)} in ${what} does not match ${pattern.source}`);
}

export type { JsonValue } from "../client/json.ts";
export { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
export type {
  Handler,
  HandlerContext,
  StepOptions,
  StepScope,
  ToolOptions,
  ToolOutcome,
  ToolScope,
} from "./handler.ts";
export { HandlerError, RunStoppedError, ToolOutcomeUnknownError, type StopCause } from "./handler-error.ts";
export { builtInHandlers } from "./handlers.ts";
export type { WorkerLog } from "./log.ts";
