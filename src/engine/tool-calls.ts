import { isDeepStrictEqual } from "node:util";
import { type Run, type ToolCall, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { type JsonValue, valueToJson } from "../client/json.ts";
import { checkArguments, type ToolRegistry } from "../tools/registry.ts";
import { runTool } from "../tools/run-tool.ts";
import { targetOf } from "../tools/target.ts";
import { ToolError } from "../tools/tool-error.ts";
import type { Tool, ToolOutcome, ToolScope } from "../tools/tool.ts";
import type { Activity } from "./activity.ts";
import type { Command } from "./command.ts";
import type { Commands } from "./commands.ts";
import type { Entry } from "./entry.ts";
import type { HandlerContext, ToolCallOptions, ToolFunction, ToolOptions } from "./handler.ts";
import { awaitedApproval } from "./gate.ts";
import { failureOf, HandlerError, RunStoppedError, runErrorOf, tame } from "./handler-error.ts";
import type { Journal } from "./journal.ts";
import type { Ledger, ToolCallInit } from "./ledger.ts";
import type { WorkerLog } from "./log.ts";
import { attemptOf, resultOf, settle } from "./steps.ts";
import type { Telemetry } from "./telemetry.ts";
import { isOpen, leftOpen, outcomeUnknown, requireStarted, resultFound } from "./tool-outcome.ts";
import { createUsageMeter } from "./usage.ts";
import { optionalValue } from "./values.ts";
import type { Waits } from "./waits.ts";

/** Calls tools, each call once per run unless it had no effect. */
export interface ToolCalls {
  tool: HandlerContext["tool"];
  reconcile: HandlerContext["reconcile"];
  /**
   * Resolves when no call of a tool is under way that must not be repeated blindly. A tool has a time limit, so that this
   * comes; a function at hand has none and is not waited for.
   */
  ended(): Promise<void>;
}

/** What tool calls need. */
export interface ToolCallsOptions {
  readonly run: Run;
  /** Calls of earlier attempts that nobody knows the end of. */
  readonly unknownToolCalls: readonly ToolCall[];
  readonly registry: ToolRegistry;
  readonly client: SignalboxClient;
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly waits: Waits;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
  readonly log: WorkerLog;
}

/** What is to be called, and how that is recorded. */
interface Callee<T> {
  readonly init: ToolCallInit;
  /** What the handler wants it to be called with. */
  readonly args: unknown;
  /** `args` are what people have approved, where they were asked. */
  run(args: unknown, scope: ToolScope): T | Promise<T>;
  reconcile(args: unknown, scope: ToolScope): Promise<ToolOutcome | undefined>;
  /** True when it ends within a time, and nobody could tell whether it took effect unless its end is recorded. */
  readonly mustEnd: boolean;
}

/** Tool calls of one attempt. */
export function createToolCalls(needs: ToolCallsOptions): ToolCalls {
  const { run, registry, client, commands, ledger, journal, activity, waits, telemetry, signal, log } = needs;
  const underWay = new Set<Promise<unknown>>();
  const unknownCalls = new Map(needs.unknownToolCalls.map((call) => [call.key, call]));

  function scopeOf(toolCallId: string, usage = createUsageMeter()): ToolScope {
    const { runId, workspaceId } = run;
    return { toolCallId, runId, workspaceId, signal, log, client, addUsage: usage.add };
  }

  /** What became of a call of an earlier attempt, on record: with its end when it took effect. */
  async function lookUp(unknown: ToolCall, callee: Callee<unknown>): Promise<Entry> {
    const args = argumentsOf(unknown, callee);
    const outcome = await activity.during(() => callee.reconcile(args, scopeOf(unknown.toolCallId)));
    if (outcome === undefined) throw outcomeUnknown(unknown);
    return journal.end(() => recordOutcome(unknown, outcome));
  }

  async function recordOutcome(unknown: ToolCall, outcome: ToolOutcome): Promise<Entry> {
    // A result that is set, null at least, is what says that the call took effect.
    const found = outcome.tookEffect ? (outcome.result ?? null) : undefined;
    const result = optionalValue(found, `the result of tool call ${unknown.key}`, "OUTPUT_NOT_SERIALIZABLE");
    const entry = await ledger.reconcile(unknown.toolCallId, outcome.note, result);
    unknownCalls.delete(unknown.key);
    return entry;
  }

  async function perform<T>(command: Command, callee: Callee<T>): Promise<T> {
    const unknown = unknownCalls.get(command.key);
    // Nothing is awaited otherwise: calls start in the order in which they were asked for.
    const found = unknown === undefined ? undefined : await lookUp(unknown, callee);
    if (found?.end !== undefined) return resultOf(found.end);
    const call = make(command, callee);
    if (!callee.mustEnd) return call;
    underWay.add(call);
    try {
      return await call;
    } finally {
      underWay.delete(call);
    }
  }

  async function make<T>(command: Command, callee: Callee<T>): Promise<T> {
    for (;;) {
      const started = await journal.start(() => ledger.startToolCall(command, callee.init));
      if (started.end !== undefined) return resultOf(started.end);
      const approvalId = awaitedApproval(started);
      if (approvalId === undefined) {
        requireStarted(started);
        return conclude(started, command, callee);
      }
      await waits.until(command.sequence, { approvalId });
    }
  }

  /** Makes a call that is on record as started, and records its end. */
  async function conclude<T>(started: Entry, { key }: Command, callee: Callee<T>): Promise<T> {
    const usage = createUsageMeter();
    const scope = scopeOf(started.id, usage);
    const args = argumentsOf(started.toolCall, callee);
    const tried = await activity.during(() =>
      attemptOf(`the result of tool call ${key}`, () => callee.run(args, scope)),
    );
    // What a tool throws because it was told to stop says nothing about what it did.
    if (!tried.ok && tried.cause instanceof RunStoppedError) throw tried.cause;
    if (!tried.ok && isOpen(tried.cause, started.toolCall ?? callee.init)) {
      const outcome = await activity.during(() => callee.reconcile(args, scope));
      if (outcome === undefined) throw leftOpen(tried.cause);
      const resolved = await activity.during(() => attemptOf("the result", () => resultFound(outcome, tried.cause)));
      return settle(await journal.end(() => ledger.end(started, resolved.ending, usage)), resolved) as T;
    }
    return settle(await journal.end(() => ledger.end(started, tried.ending, usage)), tried);
  }

  /** The tool, when it may be called so. */
  function find(named: string | Tool, args: unknown): Tool {
    const name = typeof named === "string" ? named : named.name;
    const tool = typeof named === "string" ? registry.get(name) : named;
    const problem = tool === undefined ? registry.check(name, args) : checkArguments(tool, args);
    if (problem !== undefined) throw failureOf(runErrorOf(problem), problem);
    if (tool !== undefined) return tool;
    throw new HandlerError("TOOL_NOT_FOUND", `there is no tool ${name}`, { retryable: false });
  }

  function callTool(named: string | Tool, args: unknown, { name, stepId = "" }: ToolCallOptions) {
    const toolName = typeof named === "string" ? named : named.name;
    return commands.perform<JsonValue | undefined>({
      kind: "tool",
      name: name ?? toolName,
      async live(command) {
        const tool = find(named, args);
        const { effect, idempotent, version, reversible } = tool;
        const target = targetFor(tool, args);
        const given = optionalValue(args, `the arguments of tool call ${command.key}`, "INPUT_NOT_SERIALIZABLE");
        return perform(command, {
          init: { stepId, tool: toolName, effect, idempotent, version, reversible, target, arguments: given },
          args,
          run(used, scope) {
            if (!isDeepStrictEqual(used, valueToJson(given))) requireTarget(tool, used, target);
            const traced = { tool: toolName, toolCallId: scope.toolCallId, args: used as JsonValue };
            return telemetry.executeTool(run, traced, () => runTool(tool, used, scope));
          },
          reconcile: async (used, scope) => tool.reconcile?.(used, scope),
          mustEnd: !idempotent && effect !== ToolEffect.READ,
        });
      },
      replayed: resultOf,
    });
  }

  function callFunction<T>(name: string, options: ToolOptions, fn: ToolFunction<T>) {
    const { args, stepId = "", tool, effect, idempotent = false, reversible = false, target = "" } = options;
    return commands.perform<T>({
      kind: "tool",
      name,
      async live(command) {
        const given = optionalValue(args, `the arguments of tool call ${command.key}`, "INPUT_NOT_SERIALIZABLE");
        const init = { stepId, tool, effect, idempotent, reversible, target, arguments: given };
        return perform(command, {
          init,
          args: valueToJson(given),
          run(used, scope) {
            requireTaken(used, valueToJson(given), fn);
            return fn(scope, used as JsonValue | undefined);
          },
          reconcile: async () => undefined,
          mustEnd: false,
        });
      },
      replayed: resultOf,
    });
  }

  function tool<T>(name: string, options: ToolOptions, fn: ToolFunction<T>): Promise<T>;
  function tool(named: string | Tool, args?: unknown, options?: ToolCallOptions): Promise<JsonValue | undefined>;
  function tool(named: string | Tool, second: unknown = {}, third: unknown = {}): Promise<unknown> {
    return typeof third === "function"
      ? callFunction(named as string, second as ToolOptions, third as ToolFunction<unknown>)
      : callTool(named, second, third as ToolCallOptions);
  }

  return {
    tool,
    async reconcile(key, outcome) {
      const unknown = unknownCalls.get(key);
      if (unknown === undefined) {
        const message = `no tool call ${key} of this run waits to be reconciled; see ctx.unknownToolCalls`;
        throw new HandlerError("TOOL_CALL_NOT_FOUND", message, { retryable: false });
      }
      await journal.write(() => recordOutcome(unknown, outcome));
    },
    async ended() {
      await Promise.allSettled(underWay);
    },
  };
}

function targetFor(tool: Tool, args: unknown): string {
  try {
    return targetOf(tool, args);
  } catch (thrown) {
    const cause = tame(thrown);
    throw failureOf(runErrorOf(cause), cause);
  }
}

/** Throws a ToolError for edited arguments that reach something else: the policy was not asked about that. */
function requireTarget(tool: Tool, used: unknown, asked: string): void {
  // What the tool does not take has no target; it is refused where the tool is run.
  if (tool.target === undefined || checkArguments(tool, used) !== undefined) return;
  const target = targetFor(tool, used);
  if (target === asked) return;
  const message = `people have edited the arguments so that the call reaches ${JSON.stringify(target)}, but it was asked for ${JSON.stringify(asked)}; make another call for that`;
  throw new ToolError("TOOL_ARGUMENTS_EDITED", message);
}

/** What a call is made with: what people have approved, where they were asked, else what the handler said. */
function argumentsOf(call: ToolCall | undefined, { args }: Pick<Callee<unknown>, "args">): unknown {
  return call?.arguments === undefined ? args : valueToJson(call.arguments);
}

/** Throws a ToolError when people have edited the arguments of a function that does not take any. */
function requireTaken(used: unknown, given: unknown, fn: ToolFunction<unknown>): void {
  if (fn.length >= 2 || isDeepStrictEqual(used, given)) return;
  const message =
    "people have edited the arguments, but the function of the tool call does not take them: (scope, args) => …";
  throw new ToolError("TOOL_ARGUMENTS_EDITED", message);
}
