import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Agent } from "../../gen/signalbox/v1/agent_pb.ts";
import {
  type ArchiveAgentRequest,
  type CreateAgentRequest,
  CreateAgentRequestSchema,
  type GetAgentRequest,
  type ListAgentsRequest,
  type UpdateAgentRequest,
} from "../../gen/signalbox/v1/agent_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { requireStorable } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { agentNotFound, archiveAgent, createAgent, updateAgent } from "./decider.ts";
import { listAgents } from "./queries.ts";
import { agentAggregate, type AgentState } from "./state.ts";

/** An agent after a command, and where the log stood then. */
export interface AgentAnswer {
  readonly agent: Agent;
  readonly position: bigint;
}

/** The agents of all workspaces; every call sees its own workspace only. */
export interface Agents {
  /** Creates an active agent. REQUEST_ID_REUSED, INVALID_REQUEST, PAYLOAD_TOO_LARGE. */
  create(call: Call, request: CreateAgentRequest): Promise<AgentAnswer>;
  /** The agent as it is now. AGENT_NOT_FOUND. */
  get(call: Call, request: GetAgentRequest): Promise<{ agent: Agent }>;
  /** Changes the fields that the mask names. AGENT_NOT_FOUND, INVALID_STATE, ETAG_MISMATCH, INVALID_REQUEST, PAYLOAD_TOO_LARGE. */
  update(call: Call, request: UpdateAgentRequest): Promise<AgentAnswer>;
  /** Archives the agent for good; twice is fine. AGENT_NOT_FOUND. */
  archive(call: Call, request: ArchiveAgentRequest): Promise<AgentAnswer>;
  /** A page of agents, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListAgentsRequest): Promise<{ agents: Agent[]; nextPageToken: string }>;
  /** The agent as it is now, confirmed by the log's leader; undefined when this workspace has none with the id. */
  find(workspaceId: string, agentId: string): Promise<Agent | undefined>;
}

/** What agents need. */
export interface AgentsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
}

/** The largest JSON Schema that an agent may carry, in bytes of its binary form. */
const maxSchemaBytes = 256 * 1024;

/** The agents on a log and its read models. */
export function createAgents({ db, positions, ...deps }: AgentsDeps): Agents {
  const aggregates = createAggregates(agentAggregate, deps);

  async function find(workspaceId: string, agentId: string): Promise<Agent | undefined> {
    const { state } = await aggregates.load(workspaceId, agentId);
    return state.status === "absent" ? undefined : state.agent;
  }

  return {
    find,
    async create(call, request) {
      requireSchemas(request);
      const { requestId } = request;
      const repeatable = requestId !== "";
      const id = repeatable ? derivedId("agt", call.workspaceId, "CreateAgent", requestId) : deps.ids.next("agt");
      const digest = repeatable ? requestDigest(CreateAgentRequestSchema, request) : new Uint8Array();
      const decide = (state: AgentState) => createAgent(state, { agentId: id, request, requestDigest: digest });
      return answer(await aggregates.execute({ call, id, creation: { roomId: "", repeatable }, decide }), id);
    },
    async get(call, { agentId }) {
      const agent = await find(call.workspaceId, agentId);
      if (agent === undefined) throw agentNotFound(agentId);
      return { agent };
    },
    async update(call, { agent, updateMask }) {
      if (agent === undefined) throw new SignalboxError("INVALID_REQUEST", "agent is missing: name the one to change");
      requireSchemas(agent);
      const change = { agent, paths: updateMask?.paths ?? [] };
      const decide = (state: AgentState) => updateAgent(state, change);
      return answer(await aggregates.execute({ call, id: agent.agentId, decide }), agent.agentId);
    },
    async archive(call, { agentId }) {
      const decide = (state: AgentState) => archiveAgent(state, agentId);
      return answer(await aggregates.execute({ call, id: agentId, decide }), agentId);
    },
    async list({ workspaceId, signal }, { statuses, preset, handler, pageSize, pageToken, minPosition }) {
      const page = readPage("agents", [workspaceId, statuses, preset, handler], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listAgents(db, { workspaceId, statuses, preset, handler, page });
      return { agents: items, nextPageToken };
    },
  };
}

function requireSchemas({ inputSchema, outputSchema }: Pick<Agent, "inputSchema" | "outputSchema">): void {
  const valueOf = (schema: JsonObject | undefined) => schema && fromJson(ValueSchema, schema);
  requireStorable("input_schema", valueOf(inputSchema), maxSchemaBytes);
  requireStorable("output_schema", valueOf(outputSchema), maxSchemaBytes);
}

function answer({ state, position }: Loaded<AgentState>, agentId: string): AgentAnswer {
  if (state.status === "absent") throw agentNotFound(agentId);
  return { agent: state.agent, position };
}
