import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Artifact, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { BudgetSchema, RetryPolicySchema, Run, ToolCall, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import type { JsonValue } from "../client/json.ts";
import type { ModelAnswer, ModelRequest } from "../models/model.ts";
import type { ToolRegistry } from "../tools/registry.ts";
import type { Tool, ToolOutcome, ToolScope } from "../tools/tool.ts";
import type { ArtifactContent } from "./artifact-content.ts";
import type { WorkerLog } from "./log.ts";
import type { UsageAmounts } from "./usage.ts";

/**
 * The code that does a run's work. What it returns is the run's output: JSON, or undefined for none. `input` is what the
 * creator gave, undefined for nothing; it is not checked, unless `defineHandler` was told how.
 *
 * It runs again from its first line after every wait, failure and crash; what it asked of `ctx` before is then answered
 * from the record. So everything that is not the same each time goes through `ctx`: outside work into `step` and `tool`,
 * the time from `now`, chance from `random`.
 */
export type Handler = (ctx: HandlerContext, input: JsonValue | undefined) => unknown;

/**
 * What a handler has to work with. The methods that return a promise, `reconcile` apart, are its commands: they are counted
 * in the order of the calls, and each has a key, which is its name, `name#2` for the second one with this name, and so on. A
 * handler that asks for another command than the record has at its place fails for good with NON_DETERMINISTIC. What ended
 * first is answered first, also when it is replayed, so commands may run side by side.
 *
 * A command rejects with a RunStoppedError once nothing more can be recorded. It stays unanswered for ever when the run is
 * suspended or paused meanwhile, or when the handler has ended without it.
 */
export interface HandlerContext {
  /** The run as it was claimed. */
  readonly currentRun: Run;
  /** Which claim of the run this is, from 1. */
  readonly attempt: number;
  /** Aborts with a RunStoppedError when the work is of no use any more. A handler that goes on can write nothing. */
  readonly signal: AbortSignal;
  /** Calls the server in the run's workspace. It is not the handler's to close. */
  readonly client: SignalboxClient;
  /** The tools that the worker has. */
  readonly tools: ToolRegistry;
  /** Tool calls of earlier attempts that must be reconciled before they are made again. */
  readonly unknownToolCalls: readonly ToolCall[];
  /** Lines carry the run and the attempt, and `replay: true` while the handler goes over what is on record. */
  readonly log: WorkerLog;
  /**
   * What `fn` returns, done once per run: an output on record is returned without running `fn`. JSON, or undefined. Throws a
   * HandlerError when `fn` throws, with what it threw as the cause; the next attempt runs `fn` again, unless the error is
   * not retryable or the handler went on to another command after it.
   */
  step<T>(name: string, fn: (scope: StepScope) => T | Promise<T>, options?: StepOptions): Promise<T>;
  /**
   * What `fn` returns, as a call of a tool that is on record before `fn` runs, so that nobody repeats it blindly. `fn` throws
   * only when the tool had no effect; when it can not tell, it throws a ToolOutcomeUnknownError of its own.
   */
  tool<T>(name: string, options: ToolOptions, fn: ToolFunction<T>): Promise<T>;
  /**
   * What a tool of the worker, or one at hand, returns for these arguments. Throws a HandlerError: TOOL_NOT_FOUND and
   * TOOL_ARGUMENTS_INVALID before anything is recorded, TOOL_TIMEOUT and the like after. Throws ToolOutcomeUnknownError when
   * nobody can tell whether the tool took effect; it is not called again until that is reconciled.
   *
   * Both forms pass the gate first. Where the policy wants people to approve a call, it waits for them without a worker, and
   * is made with the arguments that they approved, which they may have edited. One that is not allowed is never made, and throws a
   * HandlerError that is not retryable: POLICY_DENIED with the policy's message, APPROVAL_DENIED with the comment of who denied
   * it, APPROVAL_EXPIRED when nobody has approved it in time. A kill switch that stops it pauses the run.
   */
  tool(tool: string | Tool, args?: unknown, options?: ToolCallOptions): Promise<JsonValue | undefined>;
  /**
   * The payload that people have approved, which they may have edited; waits for them without a worker. For what no tool call
   * does: the handler does it after that, in a step. Throws a HandlerError that is not retryable: POLICY_DENIED,
   * APPROVAL_DENIED, APPROVAL_EXPIRED, as `tool`. An approval is good for once.
   */
  approve(request: ApprovalRequest): Promise<JsonValue | undefined>;
  /** Records what became of an unknown tool call, by its key; with an effect, `tool` returns that result from then on. */
  reconcile(key: string, outcome: ToolOutcome): Promise<void>;
  /**
   * What a model answers. It is recorded with its usage, so a replay costs nothing; the text is emitted as it comes, under
   * the key of the command. Throws a HandlerError with the code of the ModelError.
   */
  model(request: ModelRequest, options?: ModelOptions): Promise<ModelAnswer>;
  /**
   * Waits this many milliseconds from the first time it is asked, 0 to 366 days, or until a time. Longer ones need no
   * worker: the run is suspended when nothing else is under way.
   */
  sleep(duration: number | Date, options?: NameOptions): Promise<void>;
  /**
   * The output of a child run, which is created once; waits for its end without a worker. Throws a ChildRunError when it
   * failed or was canceled. A child shows in the same room unless it says otherwise, and is canceled when this run ends
   * first.
   */
  run(child: ChildRun): Promise<JsonValue | undefined>;
  /** The outputs of child runs, in the order given; throws the ChildRunError of the first in that order once all have ended. */
  runAll(children: readonly ChildRun[]): Promise<(JsonValue | undefined)[]>;
  /** The content of the next message to the run that came from the thread, or from none; waits for it without a worker. */
  waitForMessage(threadId?: string, options?: NameOptions): Promise<JsonValue>;
  /**
   * A file of the run, stored once: the artifact on record, whatever `content` is in a replay; in a retried or forked run, that of
   * the run it began as. `name` is what people call it, at most 190 characters. Throws a HandlerError that is not retryable for what
   * the server does not keep (PAYLOAD_TOO_LARGE, QUOTA_EXCEEDED), and ARTIFACT_STREAM_READ, retryable, when an upload broke off
   * whose stream can not be read again.
   */
  artifact(name: string, content: ArtifactContent, options?: ArtifactOptions): Promise<Artifact>;
  /**
   * Shows output in the making to those who follow the run with `include_deltas`; a string is text under the key `output`.
   * It never waits and never fails: what can not be delivered is left out. Nothing is shown again during a replay.
   */
  emit(delta: string | EmittedDelta): void;
  /** The time of the last thing that was answered, as the server recorded it, so it is the same in a replay. */
  now(): Date;
  /** A number from 0 to below 1, the same ones in every attempt of the run. Not for secrets. */
  random(): number;
}

/** What a command is called. */
export interface NameOptions {
  /** What people read and the key begins with, 1 to 190 characters; default what the command is about. */
  readonly name?: string | undefined;
}

/** About a step. */
export interface StepOptions {
  /** What people read, default the key; up to 200 characters. */
  readonly name?: string | undefined;
  /** Recorded with the start of the step. JSON. */
  readonly input?: unknown;
  /** How often to try before the error is thrown, default once. */
  readonly retry?: StepRetry | undefined;
}

/** How a failing step is repeated while the worker has the run. An error that is not retryable is never repeated. */
export interface StepRetry {
  /** 1 to 1,000, default 3. */
  readonly maxAttempts?: number | undefined;
  /** The pause before the second attempt, default 100. */
  readonly initialBackoffMs?: number | undefined;
  /** The factor from one pause to the next, default 2. */
  readonly multiplier?: number | undefined;
  /** Default 10,000. */
  readonly maxBackoffMs?: number | undefined;
}

/** What the code of a step has to work with. */
export interface StepScope {
  readonly stepId: string;
  readonly key: string;
  /** Which try of this worker it is, from 1. */
  readonly attempt: number;
  /** The handler's signal. */
  readonly signal: AbortSignal;
  /** Counts what the step consumes; recorded with its end. */
  addUsage(amounts: UsageAmounts): void;
  /** Shows output under the step's key. */
  emit(delta: string | Omit<EmittedDelta, "key">): void;
}

/** About a call of a tool. */
export interface ToolCallOptions extends NameOptions {
  /** The step it belongs to. */
  readonly stepId?: string | undefined;
}

/** The code of a tool call. `args` are those of the options, or what people made of them before they approved the call. */
export type ToolFunction<T> = (scope: ToolScope, args: JsonValue | undefined) => T | Promise<T>;

/** What a tool call is. */
export interface ToolOptions {
  /** The name of the tool. */
  readonly tool: string;
  readonly effect: ToolEffect;
  /** Whether calling twice does no more than calling once, default false. Such a call is repeated after a lost lease. */
  readonly idempotent?: boolean | undefined;
  /** Whether what it does can be undone, default false. */
  readonly reversible?: boolean | undefined;
  /** What it is done to, for people and rules, for example `mailto:a@example.com`; up to 1,000 characters, default none. */
  readonly target?: string | undefined;
  /** What the tool is called with. JSON. */
  readonly args?: unknown;
  /** The step it belongs to. */
  readonly stepId?: string | undefined;
}

/** Something that people are to approve. */
export interface ApprovalRequest extends NameOptions {
  /** What is to be done, for example `contract.sign`; 1 to 200 characters. Rules go by it, and it is the default name. */
  readonly action: string;
  /** What it is to be done with: exactly this is approved. JSON. */
  readonly payload?: unknown;
  /** What it is done to, for people and rules; up to 1,000 characters, default none. */
  readonly target?: string | undefined;
  /** Default EXTERNAL_WRITE. */
  readonly effect?: ToolEffect | undefined;
  /** Whether it can be undone, default false. */
  readonly reversible?: boolean | undefined;
  /** Tells people why, up to 5,000 characters. */
  readonly message?: string | undefined;
  /** Who decides, where the policy does not ask for more. */
  readonly terms?: ApprovalTermsOptions | undefined;
}

/** Who decides, how many of them, and how long that may take. */
export interface ApprovalTermsOptions {
  /** How many have to approve, 1 to 20, default 1. */
  readonly requiredCount?: number | undefined;
  /** Who may, as `user:alice` or `role:finance`; default every person and program, but no agent. */
  readonly deciders?: readonly string[] | undefined;
  /** How long an approval is good for, from the request to its use, 1 s to 30 days, default 24 h. */
  readonly ttlMs?: number | undefined;
  /** How long nobody may have decided before `escalateTo` may as well, default for ever. */
  readonly escalateAfterMs?: number | undefined;
  /** Who may decide after that, as `deciders`. */
  readonly escalateTo?: readonly string[] | undefined;
}

/** About a question to a model. */
export interface ModelOptions extends NameOptions {
  /** How often to ask before the error is thrown, default once: the client repeats what may pass by itself. */
  readonly retry?: StepRetry | undefined;
  /** False keeps the text from those who follow the run, default true. */
  readonly stream?: boolean | undefined;
}

/** A run to create: of `handler` or of `agentId`. What the fields mean, and their defaults, says CreateRunRequest. */
export interface ChildRun extends NameOptions {
  readonly handler?: string | undefined;
  readonly agentId?: string | undefined;
  /** JSON. */
  readonly input?: unknown;
  /** Default that of this run. */
  readonly roomId?: string | undefined;
  readonly threadId?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly queue?: string | undefined;
  readonly priority?: number | undefined;
  readonly concurrencyKey?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly zone?: Zone | undefined;
  readonly retryPolicy?: MessageInitShape<typeof RetryPolicySchema> | undefined;
  readonly budget?: MessageInitShape<typeof BudgetSchema> | undefined;
  readonly maxDurationMs?: number | undefined;
}

/** About an artifact. */
export interface ArtifactOptions {
  /** The media type; default `text/plain; charset=utf-8` for a string, `application/octet-stream` for anything else. */
  readonly contentType?: string | undefined;
  /** Own keys and values, at most 64. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Who in the workspace may read it; default who created the run, and who was granted access. */
  readonly visibility?: ArtifactVisibility | undefined;
  /** An age recipient (`age1…`): only who has its identity can read it, not the server. Default none. */
  readonly recipient?: string | undefined;
  /** How long it is kept, from 1 s; default and at most the installation's (7 days). */
  readonly retentionMs?: number | undefined;
}

/** A piece of output. */
export interface EmittedDelta {
  /** What it belongs to, 1 to 200 characters, default `output`. */
  readonly key?: string | undefined;
  /** To be put behind the text of the pieces before. */
  readonly text?: string | undefined;
  /** Anything else, for example progress. JSON. */
  readonly data?: unknown;
}
