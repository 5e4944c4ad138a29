import { type Agent, AgentSchema, type AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which agents to list. */
export interface AgentQuery {
  readonly workspaceId: string;
  /** Keeps only these; empty keeps all. */
  readonly statuses: readonly AgentStatus[];
  /** Keeps only agents made from this template; empty keeps all. */
  readonly preset: string;
  /** Keeps only agents of this handler; empty keeps all. */
  readonly handler: string;
  readonly page: Page;
}

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from agents " +
  "where workspace_id = $1 and create_position < $2 and (cardinality($3::smallint[]) = 0 or status = any($3)) " +
  "and ($5 = '' or preset = $5) and ($6 = '' or handler = $6) " +
  "order by create_position desc limit $4";

/** A page of agents, newest first. */
export function listAgents(
  db: Db,
  { workspaceId, statuses, preset, handler, page }: AgentQuery,
): Promise<Found<Agent>> {
  return findResources(db, {
    name: "agents_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, statuses, page.size + 1, preset, handler],
    schema: AgentSchema,
    page,
  });
}

/** An agent of which only so many runs may be under way at the same time. */
export interface LimitedAgent {
  readonly workspaceId: string;
  readonly agentId: string;
  readonly maxRunning: number;
}

/** Every agent of every workspace that has such a limit. */
export async function limitedAgents(db: Db): Promise<LimitedAgent[]> {
  const { rows } = await db.query<{ workspace_id: string; agent_id: string; max_running: number }>({
    name: "agents_limited",
    text: "select workspace_id, agent_id, max_running from agents where max_running > 0",
  });
  return rows.map((row) => ({ workspaceId: row.workspace_id, agentId: row.agent_id, maxRunning: row.max_running }));
}
