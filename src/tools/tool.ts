import type { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";

/** Something that agents and handlers can call by name. `defineTool` makes one with defaults and checks. */
export interface Tool {
  /** 1 to 128 letters, digits, `_`, `-` and `.`, beginning with a letter or digit; for example `filesystem.read`. */
  readonly name: string;
  /** What it does and when to use it, for a model. */
  readonly description: string;
  /** Up to 100 characters; another one for every change that callers can notice. */
  readonly version: string;
  readonly effect: ToolEffect;
  /** Whether calling twice does no more than calling once. Such a call is repeated after a lost lease. */
  readonly idempotent: boolean;
  /** Whether what it does can be undone. */
  readonly reversible: boolean;
  /** JSON Schema of the arguments, of type `object`; draft 2020-12 unless `$schema` says draft-07. */
  readonly inputSchema: JsonSchema;
  /** Milliseconds after which a call is given up. */
  readonly timeoutMs: number;
  /** The most bytes of JSON that a result may have. */
  readonly maxResultBytes: number;
  /**
   * What a call is done to, for people who approve it and for rules, for example `mailto:a@example.com`; up to 1,000
   * characters. Gets arguments that `inputSchema` allows.
   */
  target?(args: unknown): string;
  /**
   * The result, as JSON; undefined for none. Gets arguments that `inputSchema` allows. Throws a ToolError when it failed
   * without an effect, one with `outcomeUnknown` when it can not tell; any other error counts as a failure without effect.
   */
  run(args: unknown, scope: ToolScope): unknown;
  /**
   * Finds out what became of a call whose outcome is unknown, by its arguments and `scope.toolCallId`; undefined when that
   * can not be told, so that a person must.
   */
  reconcile?(args: unknown, scope: ToolScope): Promise<ToolOutcome | undefined>;
}

/** A JSON Schema that is an object; `true` and `false` describe no tool. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What the code of a tool call has to work with. */
export interface ToolScope {
  /** The same in every attempt, so it can serve as the idempotency key of the system behind the tool. */
  readonly toolCallId: string;
  readonly runId: string;
  readonly workspaceId: string;
  /** Aborts when the result is of no use any more: the run was stopped, or the tool's time is up. */
  readonly signal: AbortSignal;
  /** Lines carry the run and the attempt. */
  readonly log: ToolLog;
  /** Calls the server in the run's workspace. It is not the tool's to close. */
  readonly client: SignalboxClient;
  /** Counts what the call consumes; recorded with its end. */
  addUsage(amounts: ToolUsage): void;
}

/** What a tool call consumed: whole amounts of 0 or more. */
export interface ToolUsage {
  /** Model tokens read. */
  readonly inputTokens?: number;
  /** Model tokens written. */
  readonly outputTokens?: number;
  /** Cost in millionths of the installation's currency. */
  readonly costMicros?: number;
}

/** Where tools write: pino's shape, as WorkerLog. */
export interface ToolLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What became of a tool call whose outcome was unknown. */
export type ToolOutcome = {
  /** How that is known, for people; 1 to 5,000 characters. */
  readonly note: string;
} & ({ readonly tookEffect: true; readonly result?: unknown } | { readonly tookEffect: false });

/** Several tools that come and go together. */
export interface ToolPack {
  /** What people call it, for example `filesystem.read`. */
  readonly name: string;
  readonly tools: readonly Tool[];
}
