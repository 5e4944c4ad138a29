import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import type { JsonValue } from "../../client/json.ts";
import type { ModelMessage, ModelToolCall } from "../../models/model.ts";
import { checkArguments } from "../../tools/registry.ts";
import type { Tool } from "../../tools/tool.ts";
import type { HandlerContext } from "../handler.ts";
import { HandlerError, ToolOutcomeUnknownError } from "../handler-error.ts";
import type { Citations } from "./citations.ts";
import type { AgentConfiguration, AgentTool } from "./configuration.ts";
import { delegate, delegateName } from "./delegation.ts";

/** Makes the calls that a model asks for. */
export interface ToolCaller {
  /**
   * What the model is told of its calls, in their order; they are made side by side. What is wrong with a call is told to
   * the model, and so is a tool that fails. Throws AGENT_STUCK, not retryable, when nothing but refused calls comes.
   */
  make(calls: readonly ModelToolCall[]): Promise<ModelMessage[]>;
}

/** More at once are refused. */
const maxCallsAtOnce = 32;
/** The same call, with the same arguments, is refused from then on. */
const maxSameCalls = 3;
/** Turns with nothing but refused calls before the run fails. */
const maxRefusedTurns = 3;
/** Longer results are cut, in characters of JSON. */
const maxResultLength = 60_000;

/** The caller of one run. */
export function createToolCaller(
  ctx: HandlerContext,
  { tools, delegates }: Pick<AgentConfiguration, "tools" | "delegates">,
  citations: Citations,
): ToolCaller {
  const made = new Map<string, number>();
  let refusedTurns = 0;

  function problemWith({ name, args }: ModelToolCall, index: number): string | undefined {
    if (index >= maxCallsAtOnce) return `at most ${maxCallsAtOnce} calls at once; make this one later`;
    const tool = tools.find((known) => known.name === name);
    if (tool === undefined) return unknownTool(name, tools);
    const wrong = checkArguments(toolAtHand(ctx, tool), args);
    if (wrong !== undefined) return wrong.message;
    const call = `${name} ${JSON.stringify(args)}`;
    const count = (made.get(call) ?? 0) + 1;
    made.set(call, count);
    if (count <= maxSameCalls) return undefined;
    return `this very call was made ${maxSameCalls} times; use its result, or do something else`;
  }

  // Not async up to the command, so that commands are asked for in the order of the calls.
  function makeOne({ name, args }: ModelToolCall): Promise<JsonValue | undefined> {
    if (name === delegateName) return delegate(ctx, delegates, args);
    const tool = tools.find((known) => known.name === name);
    if (tool === undefined) throw new RangeError(`${name} was not checked`);
    return ctx.tool(toolAtHand(ctx, tool), args);
  }

  return {
    async make(calls) {
      const checked = calls.map((call, index) => ({ call, problem: problemWith(call, index) }));
      refusedTurns = checked.every(({ problem }) => problem !== undefined) ? refusedTurns + 1 : 0;
      if (refusedTurns >= maxRefusedTurns) throw stuck(checked.at(-1)?.problem ?? "");
      const ends = await Promise.allSettled(
        checked.map(({ call, problem }) => (problem === undefined ? makeOne(call) : Promise.reject(refusal(problem)))),
      );
      return checked.map(({ call: { id, name } }, index) => {
        const end = ends[index];
        if (end?.status === "fulfilled") {
          const result = fitting(citations.numbered(end.value ?? null));
          return { role: "tool", toolCallId: id, name, result };
        }
        return { role: "tool", toolCallId: id, name, result: toldFailure(end?.reason), isError: true };
      });
    },
  };
}

/** The tool as the run began with it, so that a replay checks the same; its code is the worker's of today. */
function toolAtHand({ tools }: HandlerContext, { name, description, version, inputSchema }: AgentTool): Tool {
  const present = tools.get(name) ?? missingTool(name);
  return { ...present, description, version, inputSchema };
}

function missingTool(name: string): Tool {
  return {
    name,
    description: "",
    version: "",
    effect: ToolEffect.READ,
    idempotent: true,
    reversible: true,
    inputSchema: { type: "object" },
    timeoutMs: 1_000,
    maxResultBytes: 1,
    run() {
      throw new HandlerError("TOOL_NOT_FOUND", `this worker does not have the tool ${name} any more`);
    },
  };
}

function unknownTool(name: string, tools: readonly AgentTool[]): string {
  const names = tools.map((tool) => tool.name).join(", ");
  return `there is no tool ${JSON.stringify(name.slice(0, 200))}; ${names === "" ? "there are none" : `there are ${names}`}`;
}

function refusal(problem: string): HandlerError {
  return new HandlerError("TOOL_CALL_REFUSED", problem, { retryable: false });
}

function stuck(problem: string): HandlerError {
  const message = `the model is stuck: ${maxRefusedTurns} turns in a row it made nothing but tool calls that had to be refused, at last because: ${problem}`;
  return new HandlerError("AGENT_STUCK", message, { retryable: false });
}

/** What the model is told of a failure. Throws what is not the model's to deal with. */
function toldFailure(error: unknown): JsonValue {
  const isOurs = !(error instanceof HandlerError) || error instanceof ToolOutcomeUnknownError;
  if (isOurs || error.code === "NON_DETERMINISTIC") throw error;
  return { error: { code: error.code, message: error.message.slice(0, 4_000).toWellFormed() } };
}

function fitting(result: JsonValue): JsonValue {
  const text = JSON.stringify(result);
  if (text.length <= maxResultLength) return result;
  return `${text.slice(0, maxResultLength).toWellFormed()} … [cut: the result has ${text.length} characters]`;
}
