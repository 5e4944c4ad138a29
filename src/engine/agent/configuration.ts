import type { Agent } from "../../../gen/signalbox/v1/agent_pb.ts";
import type { JsonValue } from "../../client/json.ts";
import { reasonOf } from "../../client/reason.ts";
import type { HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";
import { delegateTool, isDelegate, loadDelegates } from "./delegation.ts";

/** A tool as the agent may use it: as the worker had it when the run began. */
export type AgentTool = {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly inputSchema: { readonly [key: string]: JsonValue };
};

/** Somebody that the agent can give work to. */
export type Delegate = { readonly name: string; readonly agentId: string };

/** What the handler goes by, recorded at the start of the run. All of it is JSON. */
export type AgentConfiguration = {
  readonly name: string;
  readonly model: string;
  /** Empty for none. */
  readonly instructions: string;
  readonly tools: readonly AgentTool[];
  readonly delegates: readonly Delegate[];
  /** How often the model is asked at most. */
  readonly maxTurns: number;
  readonly sessionHistory: boolean;
  /** 0 for never. */
  readonly compactAfterTokens: number;
  readonly keepTurns: number;
};

const defaultMaxTurns = 32;
const defaultKeepTurns = 4;

/**
 * The configuration of the run's agent; of a run without one, a plain assistant. Throws a HandlerError that is not
 * retryable: AGENT_NOT_FOUND, TOOL_NOT_FOUND for a tool that this worker does not have.
 */
export async function loadConfiguration(ctx: HandlerContext, defaultModel: string): Promise<AgentConfiguration> {
  const agent = await findAgent(ctx);
  const { tools = [], memory, limits } = agent ?? {};
  const delegates = await loadDelegates(ctx, tools);
  const offered = tools.filter((name) => !isDelegate(name)).map((name) => toolNamed(ctx, agent, name));
  return {
    name: agent?.name ?? "assistant",
    model: agent?.model || defaultModel,
    instructions: agent?.instructions ?? "",
    tools: delegates.length === 0 ? offered : [...offered, delegateTool(delegates)],
    delegates,
    maxTurns: limits?.maxTurns || defaultMaxTurns,
    sessionHistory: memory?.sessionHistory ?? false,
    compactAfterTokens: memory?.compactAfterTokens ?? 0,
    keepTurns: memory?.keepTurns || defaultKeepTurns,
  };
}

async function findAgent({ client, currentRun, signal }: HandlerContext): Promise<Agent | undefined> {
  const { agentId } = currentRun;
  if (agentId === "") return undefined;
  try {
    return (await client.agents.getAgent({ agentId }, { signal })).agent;
  } catch (error) {
    if (reasonOf(error) !== "AGENT_NOT_FOUND") throw error;
    throw new HandlerError("AGENT_NOT_FOUND", `there is no agent ${agentId}`, { retryable: false, cause: error });
  }
}

function toolNamed(ctx: HandlerContext, agent: Agent | undefined, name: string): AgentTool {
  const tool = ctx.tools.get(name);
  if (tool !== undefined) {
    const { description, version, inputSchema } = tool;
    return { name, description, version, inputSchema: inputSchema as AgentTool["inputSchema"] };
  }
  const names = ctx.tools.list().map((known) => known.name);
  const known = names.length === 0 ? "this worker has none" : `this worker has ${names.join(", ")}`;
  const message = `agent ${agent?.name} may use the tool ${JSON.stringify(name)}, but ${known}; change the agent, or give the worker the tool`;
  throw new HandlerError("TOOL_NOT_FOUND", message, { retryable: false });
}
