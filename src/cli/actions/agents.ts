import { toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Agent, AgentSchema, AgentStatus } from "../../../gen/signalbox/v1/agent_pb.ts";
import { Zone } from "../../../gen/signalbox/v1/common_pb.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { AgentOptions, CreateAgentOptions, ListAgentsOptions, UpdateAgentOptions } from "../commands/agents.ts";
import { agentTable, agentView } from "../views/agent-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { textArgument } from "./text-argument.ts";

const statusOf = {
  active: AgentStatus.ACTIVE,
  paused: AgentStatus.PAUSED,
  archived: AgentStatus.ARCHIVED,
} as const satisfies Record<NonNullable<ListAgentsOptions["status"]>[number], AgentStatus>;

const zoneOf = {
  sandbox: Zone.SANDBOX,
  supervised: Zone.SUPERVISED,
  high_stakes: Zone.HIGH_STAKES,
} as const satisfies Record<NonNullable<AgentOptions["zone"]>, Zone>;

/** `signalbox agents create`. */
export async function createAgent(cli: Cli, options: CreateAgentOptions): Promise<ExitCode> {
  const configuration = await configurationOf(options);
  using client = openClient(cli);
  const request = { ...configuration, name: options.name, requestId: options.requestId ?? "" };
  return show(cli, (await client.agents.createAgent(request, { signal: cli.signal })).agent);
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

/** `signalbox agents update`. */
export async function updateAgent(cli: Cli, agentId: string, options: UpdateAgentOptions): Promise<ExitCode> {
  const configuration = await configurationOf(options);
  const paths = Object.keys(configuration);
  if (paths.length === 0) {
    throw usageError("nothing to change was given", "signalbox agents update --help lists what can be changed.");
  }
  return update(cli, { ...configuration, agentId, etag: options.etag ?? "" }, paths);
}

/** `signalbox agents pause`. */
export async function pauseAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  return update(cli, { agentId, status: AgentStatus.PAUSED }, ["status"]);
}

/** `signalbox agents resume`. */
export async function resumeAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  return update(cli, { agentId, status: AgentStatus.ACTIVE }, ["status"]);
}

/** `signalbox agents archive`. */
export async function archiveAgent(cli: Cli, agentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.agents.archiveAgent({ agentId }, { signal: cli.signal })).agent);
}

type Configuration = Partial<
  Pick<Agent, "name" | "handler" | "preset" | "model" | "instructions" | "tools" | "zone">
> & {
  limits?: { maxDuration: NonNullable<NonNullable<Agent["limits"]>["maxDuration"]> };
};

/** The fields that the options set, by their names in the contract. */
async function configurationOf(options: AgentOptions): Promise<Configuration> {
  const { name, handler, preset, model, instructions, tool, zone, maxDuration } = options;
  return {
    ...(name === undefined ? {} : { name }),
    ...(handler === undefined ? {} : { handler }),
    ...(preset === undefined ? {} : { preset }),
    ...(model === undefined ? {} : { model }),
    ...(instructions === undefined ? {} : { instructions: await textArgument("--instructions", instructions) }),
    ...(tool === undefined ? {} : { tools: [...tool] }),
    ...(zone === undefined ? {} : { zone: zoneOf[zone] }),
    ...(maxDuration === undefined ? {} : { limits: { maxDuration: durationFromMs(maxDuration) } }),
  };
}

async function update(
  cli: Cli,
  agent: Configuration & { agentId: string; status?: AgentStatus; etag?: string },
  paths: string[],
): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { agent, updateMask: { paths } };
  return show(cli, (await client.agents.updateAgent(request, { signal: cli.signal })).agent);
}

function show({ output }: Cli, agent: Agent | undefined): ExitCode {
  if (agent === undefined) throw new Error("the server answered without an agent");
  output.show(toJson(AgentSchema, agent), agentView(agent));
  return exitCodes.ok;
}
