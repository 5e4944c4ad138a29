import type { Transport } from "@connectrpc/connect";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { ClientOptions, SignalboxClient } from "../client/client.ts";
import type { ModelClient } from "../models/model.ts";
import type { ToolRegistry } from "../tools/registry.ts";
import type { Tool } from "../tools/tool.ts";
import type { DefinedHandler } from "./define-handler.ts";
import type { Handler } from "./handler.ts";
import type { WorkerLog } from "./log.ts";
import type { TelemetryOptions } from "./telemetry.ts";

/** What a worker does, and for whom. Give `client`, or what createSignalboxClient takes. */
export interface WorkerOptions extends Omit<ClientOptions, "transport"> {
  /**
   * How calls travel: each by itself (`unary`, the default), or runs and records on one stream (`stream`), which takes
   * HTTP/2. A transport of Connect in place of baseUrl makes single calls.
   */
  readonly transport?: Transport | "unary" | "stream" | undefined;
  /** The client to use. It is not closed with the worker; one that the worker made of the other options is. */
  readonly client?: SignalboxClient | undefined;
  /** The code for each handler name: 1 to 100, named with letters, digits, `_`, `:` and `-`. `handle` adds more. */
  readonly handlers?: Readonly<Record<string, Handler | DefinedHandler>> | undefined;
  /** The tools that handlers call by name, default none. */
  readonly tools?: Iterable<Tool> | ToolRegistry | undefined;
  /** The models that handlers ask, for example `createModels()`; default none. */
  readonly models?: ModelClient | undefined;
  /**
   * How long a sleep may be for the worker to wait it out, in milliseconds, default 1,000: giving the run back and getting
   * it again takes about as much of everybody's time. Longer ones are waited for without a worker.
   */
  readonly longestHeldSleepMs?: number | undefined;
  /** What spans of OpenTelemetry say. */
  readonly telemetry?: TelemetryOptions | undefined;
  /** The queues to claim from, 1 to 20, default `default`. */
  readonly queues?: readonly string[] | undefined;
  /** Runs at work at the same time, 1 to 10,000, default 4. */
  readonly concurrency?: number | undefined;
  /** What people call the worker, up to 200 characters; default host name, process id and a random part. */
  readonly workerId?: string | undefined;
  /** What people call the version of the worker's code, up to 200 characters; default that of Signalbox. */
  readonly version?: string | undefined;
  /**
   * How long a handler may block the event loop before its worker's runs are left to others, in milliseconds, default 5
   * minutes. Until then heartbeats go on from a thread of their own, and people are told on stderr after 5 s. With a
   * `client` or a transport of Connect, which no other thread can use, a handler loses its run when it blocks for longer
   * than the lease holds.
   */
  readonly maxBlockedMs?: number | undefined;
  /** How long running handlers may go on once the worker is told to stop, in milliseconds, default 10,000. */
  readonly drainTimeoutMs?: number | undefined;
  /** Told what handlers throw, what the server does not take of them, and, without a run, why claiming does not work. */
  readonly onError?: ((error: unknown, run?: Run) => void) | undefined;
  /** Where the worker and its handlers write, default nowhere. */
  readonly log?: WorkerLog | undefined;
  /**
   * How long a handler that goes over what is on record may take to ask for what comes next there, before its run fails
   * with NON_DETERMINISTIC, in milliseconds, default 10,000.
   */
  readonly replayPatienceMs?: number | undefined;
}

/** What the client is made of: how calls travel may be a transport, or a way to use the one that the client makes. */
export function clientOptions({ transport, ...options }: WorkerOptions): ClientOptions {
  return { ...options, transport: typeof transport === "string" ? undefined : transport };
}

/** Throws a TypeError or RangeError for queues, a number of runs or a name that make no sense. */
export function checkOptions(queues: readonly string[], concurrency: number, workerId: string): void {
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
