import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { type JsonValue, jsonValue, NotJsonError } from "../client/json.ts";
import { checkArguments } from "./registry.ts";
import type { Tool, ToolScope } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/**
 * What the tool returns, called once, within its time and size. Absent arguments count as `{}`. Throws the reason of
 * `scope.signal` as soon as that aborts, whatever the tool throws, and a ToolError: TOOL_ARGUMENTS_INVALID, TOOL_TIMEOUT,
 * TOOL_RESULT_INVALID, TOOL_RESULT_TOO_LARGE. The last two only for a tool that reads; what had an effect succeeded, so its
 * result is `{"omitted": why}` then.
 */
export async function runTool(tool: Tool, args: unknown, scope: ToolScope): Promise<JsonValue | undefined> {
  scope.signal.throwIfAborted();
  const given = args === undefined ? {} : args;
  const problem = checkArguments(tool, given);
  if (problem !== undefined) throw problem;
  using time = startTime(tool, scope.signal);
  const result = await Promise.race([tool.run(given, { ...scope, signal: time.signal }), time.over]);
  try {
    return fitting(tool, result);
  } catch (error) {
    if (tool.effect === ToolEffect.READ || !(error instanceof ToolError)) throw error;
    scope.log.warn({ err: error, tool: tool.name }, "the result of a tool that had its effect is left out");
    return { omitted: error.message };
  }
}

interface Time extends Disposable {
  readonly signal: AbortSignal;
  /** Rejects when the signal aborts, with its reason. */
  readonly over: Promise<never>;
}

/** Starts the time of a call. A tool that does not listen to the signal goes on, but nobody waits for it. */
function startTime(tool: Tool, outer: AbortSignal): Time {
  const { name, timeoutMs, idempotent } = tool;
  const controller = new AbortController();
  const { promise: over, reject } = Promise.withResolvers<never>();
  over.catch(() => {});
  function stop(reason: unknown): void {
    controller.abort(reason);
    reject(reason);
  }
  const timer = setTimeout(() => {
    const message = `${name} has not answered within ${timeoutMs} ms`;
    stop(new ToolError("TOOL_TIMEOUT", message, { retryable: true, outcomeUnknown: !idempotent }));
  }, timeoutMs);
  const onOuter = () => stop(outer.reason);
  outer.addEventListener("abort", onOuter);
  return {
    signal: controller.signal,
    over,
    [Symbol.dispose]() {
      clearTimeout(timer);
      outer.removeEventListener("abort", onOuter);
    },
  };
}

function fitting({ name, maxResultBytes }: Tool, result: unknown): JsonValue | undefined {
  if (result === undefined) return undefined;
  try {
    jsonValue(result, `the result of ${name}`);
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    throw new ToolError("TOOL_RESULT_INVALID", error.message, { cause: error });
  }
  const size = Buffer.byteLength(JSON.stringify(result));
  if (size <= maxResultBytes) return result as JsonValue;
  const message = `the result of ${name} has ${size} bytes, more than the ${maxResultBytes} that it may have; ask for less`;
  throw new ToolError("TOOL_RESULT_TOO_LARGE", message);
}
