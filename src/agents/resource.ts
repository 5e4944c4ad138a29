import { create } from "@bufbuild/protobuf";
import { type Agent, AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** The agent after an event of its stream; undefined until it is created. Pure. */
export function evolveAgent(agent: Agent | undefined, event: Event): Agent | undefined {
  const { payload } = event;
  if (payload.case === "agentCreated") {
    const { workspaceId, createTime, actor } = event;
    const agentId = event.stream?.id ?? "";
    return changed(configured(payload.value.agent, { agentId, workspaceId, createTime, createBy: actor }), event);
  }
  if (agent === undefined) return undefined;
  if (payload.case === "agentUpdated") return changed(configured(payload.value.agent, agent), event);
  if (payload.case === "agentArchived") return changed({ ...agent, status: AgentStatus.ARCHIVED }, event);
  return agent;
}

/** The configuration that an event carries, with what stays the same for the whole life of the agent. */
function configured(
  configuration: Agent | undefined,
  { agentId, workspaceId, createTime, createBy }: Pick<Agent, "agentId" | "workspaceId" | "createTime" | "createBy">,
): Agent {
  return { ...(configuration ?? create(AgentSchema)), agentId, workspaceId, createTime, createBy };
}

/** The agent with what every event moves on. */
function changed(agent: Agent, event: Event): Agent {
  return { ...agent, updateTime: event.createTime, etag: String(event.streamSequence), position: event.position };
}
