import { type Agent, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveAgent } from "./resource.ts";

/** An agent that exists. */
export interface KnownAgent {
  readonly agent: Agent;
  /** SHA-256 of the creating request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
}

/** What decisions about an agent rest on. */
export type AgentState =
  | { readonly status: "absent" }
  | (KnownAgent & { readonly status: "active" | "paused" | "archived" });

/** Agents as aggregates. */
export const agentAggregate: AggregateDefinition<AgentState> = {
  type: "agent",
  initial: { status: "absent" },
  evolve: evolveAgentState,
};

/** The state after one more event. Pure. */
export function evolveAgentState(state: AgentState, event: Event): AgentState {
  const before = state.status === "absent" ? undefined : state;
  const agent = evolveAgent(before?.agent, event);
  if (agent === undefined) return state;
  const { payload } = event;
  return {
    status: statusOf(agent),
    agent,
    requestDigest:
      payload.case === "agentCreated" ? payload.value.requestDigest : (before?.requestDigest ?? new Uint8Array()),
  };
}

function statusOf(agent: Agent): Exclude<AgentState["status"], "absent"> {
  switch (agent.status) {
    case AgentStatus.ACTIVE:
      return "active";
    case AgentStatus.PAUSED:
      return "paused";
    case AgentStatus.ARCHIVED:
      return "archived";
    case AgentStatus.UNSPECIFIED:
    default:
      throw new Error(`agent ${agent.agentId} has status ${agent.status}, which this program does not know`);
  }
}
