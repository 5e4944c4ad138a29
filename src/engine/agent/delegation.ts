import { type Agent, AgentStatus } from "../../../gen/signalbox/v1/agent_pb.ts";
import type { JsonValue } from "../../client/json.ts";
import type { HandlerContext } from "../handler.ts";
import type { AgentTool, Delegate } from "./configuration.ts";
import { answerText, citationsOf } from "./conversation.ts";

/** The tool that starts child runs. It is the agent's own and not in the worker's registry. */
export const delegateName = "delegate";

/** More would fill the model's context with names. */
const maxDelegates = 50;
/** Longer ones do not fit into the name of a child run; the agent goes by its id then. */
const maxNameLength = 100;

/** True for `delegate`, which allows every agent, and `delegate:<name>`, which allows the one of that preset, name or id. */
export function isDelegate(tool: string): boolean {
  return tool === delegateName || tool.startsWith(`${delegateName}:`);
}

/**
 * The agents that an agent with these tools can give work to, newest first: active ones of the handler `agent` that do not
 * delegate themselves, so that work can not go in circles.
 */
export async function loadDelegates(ctx: HandlerContext, tools: readonly string[]): Promise<Delegate[]> {
  const allowed = tools.filter(isDelegate).map((tool) => tool.slice(delegateName.length + 1));
  if (allowed.length === 0) return [];
  const found = new Map<string, Delegate>();
  for await (const agent of activeAgents(ctx)) {
    if (agent.agentId === ctx.currentRun.agentId || agent.tools.some(isDelegate)) continue;
    const names = [agent.preset, agent.name, agent.agentId].filter((name) => name !== "");
    if (!allowed.some((name) => name === "" || names.includes(name))) continue;
    const name = names.find((candidate) => candidate.length <= maxNameLength && !found.has(candidate));
    if (name !== undefined) found.set(name, { name, agentId: agent.agentId });
    if (found.size === maxDelegates) break;
  }
  return [...found.values()];
}

/** Newest first: those that came with Signalbox are behind all that people have made. */
async function* activeAgents({ client, signal }: HandlerContext): AsyncGenerator<Agent, void, void> {
  const request = { statuses: [AgentStatus.ACTIVE], handler: "agent", pageSize: 200 };
  let pageToken = "";
  do {
    const page = await client.agents.listAgents({ ...request, pageToken }, { signal });
    yield* page.agents;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

/** What a model is told of giving work to others. */
export function delegateTool(delegates: readonly Delegate[]): AgentTool {
  return {
    name: delegateName,
    description:
      "Gives a task to another agent and returns its answer. The agent knows nothing of this conversation: say all that it needs. Ask several at once when their tasks do not depend on each other.",
    version: "1",
    inputSchema: {
      type: "object",
      properties: {
        agent: { type: "string", enum: delegates.map(({ name }) => name), description: "Who is to do it." },
        task: { type: "string", minLength: 1, description: "What is to be done." },
      },
      required: ["agent", "task"],
      additionalProperties: false,
    },
  };
}

/** Runs a task as a child run and returns what the model is told of it. `args` are what the tool's schema allows. */
export async function delegate(
  ctx: HandlerContext,
  delegates: readonly Delegate[],
  args: JsonValue,
): Promise<JsonValue> {
  const { agent, task } = args as { agent: string; task: string };
  const agentId = delegates.find(({ name }) => name === agent)?.agentId ?? "";
  const output = await ctx.run({ agentId, input: task, name: `${delegateName} ${agent}` });
  return { agent, answer: answerText(output), ...citationsOf(output) };
}
