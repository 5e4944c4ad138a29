import { create, toJson } from "@bufbuild/protobuf";
import {
  type Agent,
  type AgentLimits,
  AgentLimitsSchema,
  AgentSchema,
  AgentStatus,
} from "../../../gen/signalbox/v1/agent_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { AgentOptions, CreateAgentOptions, ListAgentsOptions, UpdateAgentOptions } from "../commands/agents.ts";
import { given } from "../given.ts";
import { createStarterSet } from "../starter-set.ts";
import { agentTable, agentView } from "../views/agent-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { budgetOf, durationOf, memoryOf, retryPolicyOf } from "./policies.ts";
import { textArgument } from "./text-argument.ts";
import { zoneOf } from "./zones.ts";

const statusOf = {
  active: AgentStatus.ACTIVE,
  paused: AgentStatus.PAUSED,
  archived: AgentStatus.ARCHIVED,
} as const satisfies Record<NonNullable<ListAgentsOptions["status"]>[number], AgentStatus>;

/** `signalbox agents create`. */
export async function createAgent(cli: Cli, options: CreateAgentOptions): Promise<ExitCode> {
  const configuration = await configurationOf(options);
  using client = openClient(cli);
  const request = { ...configuration, name: options.name, requestId: options.requestId ?? "" };
  return show(cli, (await client.agents.createAgent(request, { signal: cli.signal })).agent);
}

/** `signalbox presets create`. */
export async function createPresets(cli: Cli): Promise<ExitCode> {
  using client = openClient(cli);
  const { agents } = await createStarterSet(client, cli.signal);
  showList(cli.output, [...agents], (agent) => toJson(AgentSchema, agent), agentTable);
  return exitCodes.ok;
}

/** `signalbox agents get`. */
export async function getAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.agents.getAgent({ agentId }, { signal: cli.signal })).agent);
}

/** `signalbox agents ls`. */
export async function listAgents(cli: Cli, { status = [], limit }: ListAgentsOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const statuses = status.map((name) => statusOf[name]);
  const agents: Agent[] = await pages(limit, async (page) => {
    const response = await client.agents.listAgents({ statuses, ...page }, { signal: cli.signal });
    return { items: response.agents, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, agents, (agent) => toJson(AgentSchema, agent), agentTable);
  return exitCodes.ok;
}

/** `signalbox agents update`: what is not given stays as it is, each limit for itself. */
export async function updateAgent(
  cli: Cli,
  agentId: string,
  { etag, ...options }: UpdateAgentOptions,
): Promise<ExitCode> {
  if (Object.keys(options).length === 0) {
    throw usageError("nothing to change was given", "signalbox agents update --help lists what can be changed.");
  }
  const { signal } = cli;
  using client = openClient(cli);
  // Limits and memory are replaced as a whole, so what is not named of them is read and sent back.
  const before = changesParts(options) ? (await client.agents.getAgent({ agentId }, { signal })).agent : undefined;
  const changes = await configurationOf(options, before);
  const agent = { ...changes, agentId, etag: etag ?? before?.etag ?? "" };
  return await update(client, cli, agent, Object.keys(changes));
}

/** `signalbox agents pause`. */
export async function pauseAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return await update(client, cli, { agentId, status: AgentStatus.PAUSED }, ["status"]);
}

/** `signalbox agents resume`. */
export async function resumeAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return await update(client, cli, { agentId, status: AgentStatus.ACTIVE }, ["status"]);
}

/** `signalbox agents archive`. */
export async function archiveAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.agents.archiveAgent({ agentId }, { signal: cli.signal })).agent);
}

type Configuration = Partial<
  Pick<Agent, "name" | "handler" | "preset" | "model" | "instructions" | "tools" | "zone" | "limits" | "memory">
>;

/** The fields that the options set, by their names in the contract; what they leave open of limits and memory is as before. */
async function configurationOf(options: AgentOptions, before?: Agent): Promise<Configuration> {
  const { name, handler, preset, model, instructions, tool, zone, memory } = options;
  return given({
    name,
    handler,
    preset,
    model,
    instructions: instructions === undefined ? undefined : await textArgument("--instructions", instructions),
    tools: tool && [...tool],
    zone: zone && zoneOf[zone],
    limits: changesLimits(options) ? limitsOf(options, before?.limits) : undefined,
    memory: memory && memoryOf(memory, before?.memory),
  });
}

function changesParts(options: AgentOptions): boolean {
  return changesLimits(options) || options.memory !== undefined;
}

function changesLimits({ maxDuration, maxRunning, maxTurns, retry, budget }: AgentOptions): boolean {
  return [maxDuration, maxRunning, maxTurns, retry, budget].some((limit) => limit !== undefined);
}

function limitsOf(options: AgentOptions, before = create(AgentLimitsSchema)): AgentLimits {
  const { maxDuration, maxRunning, maxTurns, retry, budget } = options;
  const changes = given({
    maxDuration: durationOf(maxDuration),
    maxRunning,
    maxTurns,
    retryPolicy: retry && retryPolicyOf(retry, before.retryPolicy),
    budget: budget && budgetOf(budget, before.budget),
  });
  return { ...before, ...changes };
}

async function update(
  client: SignalboxClient,
  cli: Cli,
  agent: Configuration & { agentId: string; status?: AgentStatus; etag?: string },
  paths: string[],
): Promise<ExitCode> {
  const request = { agent, updateMask: { paths } };
  return show(cli, (await client.agents.updateAgent(request, { signal: cli.signal })).agent);
}

function show({ output }: Cli, agent: Agent | undefined): ExitCode {
  if (agent === undefined) throw new Error("the server answered without an agent");
  output.show(toJson(AgentSchema, agent), agentView(agent));
  return exitCodes.ok;
}
