import { create, equals } from "@bufbuild/protobuf";
import { type Agent, AgentSchema, AgentStatus, type MemoryPolicy } from "../../gen/signalbox/v1/agent_pb.ts";
import { AgentArchivedSchema, AgentCreatedSchema, AgentUpdatedSchema } from "../../gen/signalbox/v1/agent_event_pb.ts";
import type { CreateAgentRequest } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { AgentState } from "./state.ts";

/** A creating request and what the edge knows about it. */
export interface NewAgent {
  readonly agentId: string;
  readonly request: CreateAgentRequest;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** New values for some fields of an agent. */
export interface AgentChange {
  /** Names the agent, holds the values, and an etag unless the change may overwrite. */
  readonly agent: Agent;
  /** The fields to take, as the contract names them. */
  readonly paths: readonly string[];
}

/** How many turns a memory policy keeps that does not say. */
const defaultKeepTurns = 4;

/** agent.created; nothing when the same request created it before. REQUEST_ID_REUSED when another one did. */
export function createAgent(state: AgentState, { agentId, request, requestDigest }: NewAgent): Draft | undefined {
  if (state.status !== "absent") {
    if (equalBytes(state.requestDigest, requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `request_id ${JSON.stringify(request.requestId)} has created ${agentId} with another body; use a new request_id`,
      { agent_id: agentId },
    );
  }
  const { name, preset, model, instructions, tools, limits, memory, inputSchema, outputSchema } = request;
  const agent = create(AgentSchema, {
    name: named(name),
    status: AgentStatus.ACTIVE,
    handler: handlerOf(request),
    preset,
    model,
    instructions,
    tools,
    zone: zoneOf(request),
    limits,
    memory: memoryOf(memory),
    inputSchema,
    outputSchema,
  });
  const value = create(AgentCreatedSchema, { agent, requestDigest });
  return { payload: { case: "agentCreated", value }, zone: agent.zone };
}

/**
 * agent.updated; nothing when the agent has these values already, whatever its etag, so that an update may be repeated.
 * AGENT_NOT_FOUND, INVALID_STATE when it is archived, ETAG_MISMATCH, INVALID_REQUEST for a field that can not be set so.
 */
export function updateAgent(state: AgentState, { agent: wanted, paths }: AgentChange): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw agentNotFound(wanted.agentId);
    case "archived":
      throw new SignalboxError("INVALID_STATE", `agent ${wanted.agentId} is archived and can not be changed`, {
        status: state.status,
      });
    case "active":
    case "paused": {
      const before = configurationOf(state.agent);
      const after = create(AgentSchema, { ...before, ...taken(wanted, paths) });
      if (equals(AgentSchema, before, after)) return undefined;
      requireEtag(state.agent, wanted.etag);
      return {
        payload: { case: "agentUpdated", value: create(AgentUpdatedSchema, { agent: after }) },
        zone: after.zone,
      };
    }
  }
}

/** agent.archived; nothing when it is archived already. AGENT_NOT_FOUND. */
export function archiveAgent(state: AgentState, agentId: string): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw agentNotFound(agentId);
    case "archived":
      return undefined;
    case "active":
    case "paused":
      return { payload: { case: "agentArchived", value: create(AgentArchivedSchema) }, zone: state.agent.zone };
  }
}

/** Unknown ids and ids of another tenant look the same. */
export function agentNotFound(agentId: string): SignalboxError {
  return new SignalboxError("AGENT_NOT_FOUND", `agent ${agentId} does not exist in this workspace`);
}

/** How each field that an update may name is read from the request. */
const fields = {
  name: ({ name }) => ({ name: named(name) }),
  status: ({ status }) => ({ status: settable(status) }),
  handler: (agent) => ({ handler: handlerOf(agent) }),
  preset: ({ preset }) => ({ preset }),
  model: ({ model }) => ({ model }),
  instructions: ({ instructions }) => ({ instructions }),
  tools: ({ tools }) => ({ tools }),
  zone: (agent) => ({ zone: zoneOf(agent) }),
  limits: ({ limits }) => ({ limits }),
  memory: ({ memory }) => ({ memory: memoryOf(memory) }),
  input_schema: ({ inputSchema }) => ({ inputSchema }),
  output_schema: ({ outputSchema }) => ({ outputSchema }),
} as const satisfies Record<string, (agent: Agent) => Partial<Agent>>;

const fieldNames = Object.keys(fields).join(", ");

function taken(agent: Agent, paths: readonly string[]): Partial<Agent> {
  if (paths.length === 0) {
    throw new SignalboxError("INVALID_REQUEST", `update_mask is empty: name at least one of ${fieldNames}`);
  }
  return Object.assign({}, ...paths.map((path) => fieldOf(path)(agent))) as Partial<Agent>;
}

function fieldOf(path: string): (agent: Agent) => Partial<Agent> {
  if (Object.hasOwn(fields, path)) return fields[path as keyof typeof fields];
  // The contract's rule lets the parts of a field pass, such as limits.max_duration.
  throw new SignalboxError(
    "INVALID_REQUEST",
    `update_mask names ${JSON.stringify(path)}, but only whole fields can be set: ${fieldNames}`,
  );
}

/** The agent without what the server alone sets. */
function configurationOf(agent: Agent): Agent {
  const outputOnly = create(AgentSchema);
  const { agentId, workspaceId, etag, createTime, updateTime, createBy, position } = outputOnly;
  return { ...agent, agentId, workspaceId, etag, createTime, updateTime, createBy, position };
}

function requireEtag(agent: Agent, etag: string): void {
  if (etag === "" || etag === agent.etag) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `agent ${agent.agentId} has changed since etag ${JSON.stringify(etag)} was read; read it again and repeat the change`,
    { etag: agent.etag },
  );
}

function named(name: string): string {
  if (name !== "") return name;
  throw new SignalboxError("INVALID_REQUEST", "name is empty: give the agent a name of 1 to 500 characters");
}

function settable(status: AgentStatus): AgentStatus {
  if (status === AgentStatus.ACTIVE || status === AgentStatus.PAUSED) return status;
  throw new SignalboxError(
    "INVALID_REQUEST",
    "status can be set to AGENT_STATUS_ACTIVE or AGENT_STATUS_PAUSED; to archive an agent call ArchiveAgent",
  );
}

function handlerOf({ handler }: Pick<Agent, "handler">): string {
  return handler === "" ? "agent" : handler;
}

function memoryOf(memory: MemoryPolicy | undefined): MemoryPolicy | undefined {
  return memory && { ...memory, keepTurns: memory.keepTurns || defaultKeepTurns };
}

function zoneOf({ zone }: Pick<Agent, "zone">): Zone {
  return zone === Zone.UNSPECIFIED ? Zone.SANDBOX : zone;
}
