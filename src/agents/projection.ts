import { AgentSchema } from "../../gen/signalbox/v1/agent_pb.ts";
import { type AnyProjection, eraseProjection, type Projection } from "../readmodel/projection.ts";
import { evolveAgent } from "./resource.ts";

const agents: Projection<typeof AgentSchema> = {
  table: "agents",
  idColumn: "agent_id",
  schema: AgentSchema,
  columns: [
    { name: "status", type: "smallint", value: (agent) => agent.status },
    { name: "preset", type: "text", value: (agent) => agent.preset },
    { name: "handler", type: "text", value: (agent) => agent.handler },
    { name: "max_running", type: "integer", value: (agent) => agent.limits?.maxRunning ?? 0 },
  ],
  idsOf: ({ stream }) => (stream?.type === "agent" ? [stream.id] : []),
  evolve: evolveAgent,
};

/** The tables of this noun. */
export const agentProjections: readonly AnyProjection[] = [eraseProjection(agents)];
