import type { Run, ToolCall, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { JsonValue } from "../client/json.ts";
import type { WorkerLog } from "./log.ts";
import type { UsageAmounts } from "./usage.ts";

/**
 * The code that does a run's work. What it returns is the run's output: JSON, or undefined for none. `input` is what the
 * creator gave, undefined for nothing; it is not checked. It may run again, after a failure or in another worker, so what
 * must happen once goes through `step` and `tool`.
 */
export type Handler = (ctx: HandlerContext, input: JsonValue | undefined) => unknown;

/** What a handler has to work with. */
export interface HandlerContext {
  /** The run as it was claimed. */
  readonly run: Run;
  /** Which claim of the run this is, from 1. */
  readonly attempt: number;
  /** Aborts with a RunStoppedError when the work is of no use any more. A handler that goes on can write nothing. */
  readonly signal: AbortSignal;
  /** Tool calls of earlier attempts that must be reconciled before they are made again. */
  readonly unknownToolCalls: readonly ToolCall[];
  /** Lines carry the run and the attempt. */
  readonly log: WorkerLog;
  /**
   * What `fn` returns, done once per run and key: an output on record is returned without running `fn`. JSON, or
   * undefined. When `fn` throws, that is recorded and thrown on; the step may be started again.
   */
  step<T>(key: string, fn: (scope: StepScope) => T | Promise<T>, options?: StepOptions): Promise<T>;
  /**
   * The same for a call that changes something outside: it is recorded before `fn` runs, so that nobody repeats it blindly.
   * Throws ToolOutcomeUnknownError when an earlier attempt left the outcome open. `fn` throws only when the tool had no
   * effect; when it can not tell, it throws a ToolOutcomeUnknownError of its own.
   */
  tool<T>(key: string, options: ToolOptions, fn: (scope: ToolScope) => T | Promise<T>): Promise<T>;
  /** Records what became of an unknown tool call; with an effect, `tool` returns that result from then on. */
  reconcile(key: string, outcome: ToolOutcome): Promise<void>;
}

/** About a step, for people. */
export interface StepOptions {
  /** What people read, default the key; up to 200 characters. */
  readonly name?: string;
  /** Recorded with the start of the step. JSON. */
  readonly input?: unknown;
}

/** What the code of a step has to work with. */
export interface StepScope {
  readonly stepId: string;
  /** Counts what the step consumes; recorded with its end. */
  addUsage(amounts: UsageAmounts): void;
}

/** What a tool call is. */
export interface ToolOptions {
  /** The name of the tool. */
  readonly tool: string;
  readonly effect: ToolEffect;
  /** Whether calling twice does no more than calling once, default false. Such a call is repeated after a lost lease. */
  readonly idempotent?: boolean;
  /** What the tool is called with. JSON. */
  readonly args?: unknown;
  /** The step it belongs to. */
  readonly stepId?: string;
}

/** What the code of a tool call has to work with. */
export interface ToolScope {
  /** The same in every attempt, so it can serve as the idempotency key of the system behind the tool. */
  readonly toolCallId: string;
  /** Counts what the call consumes; recorded with its end. */
  addUsage(amounts: UsageAmounts): void;
}

/** What became of an unknown tool call. */
export type ToolOutcome = {
  /** How that is known, for people; 1 to 5,000 characters. */
  readonly note: string;
} & ({ readonly tookEffect: true; readonly result?: unknown } | { readonly tookEffect: false });
