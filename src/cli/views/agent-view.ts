import { type Agent, AgentStatusSchema } from "../../../gen/signalbox/v1/agent_pb.ts";
import { ZoneSchema } from "../../../gen/signalbox/v1/common_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { budgetText, limitsText, memoryText, retryPolicyText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { principalText, shorten, timeText } from "./values.ts";

/** Agents below each other, one line each. */
export function agentTable(agents: readonly Agent[]): string {
  return table(
    ["AGENT", "STATUS", "NAME", "HANDLER", "MODEL", "CHANGED"],
    agents.map((agent) => [
      agent.agentId,
      enumName(AgentStatusSchema, agent.status),
      shorten(agent.name, 40),
      agent.handler,
      agent.model,
      timeText(agent.updateTime),
    ]),
  );
}

/** Everything that people want to know about an agent. */
export function agentView(agent: Agent): string {
  return fields([
    ["agent", agent.agentId],
    ["name", shorten(agent.name, 500)],
    ["status", enumName(AgentStatusSchema, agent.status)],
    ["handler", agent.handler],
    ["preset", agent.preset],
    ["model", agent.model],
    ["tools", agent.tools.join(", ")],
    ["zone", enumName(ZoneSchema, agent.zone)],
    ["limits", limitsText(agent.limits)],
    ["budget", budgetText(agent.limits?.budget)],
    ["retry", retryPolicyText(agent.limits?.retryPolicy)],
    ["memory", memoryText(agent.memory)],
    ["instructions", shorten(agent.instructions, 500)],
    ["etag", agent.etag],
    ["created", `${timeText(agent.createTime)} by ${principalText(agent.createBy)}`],
    ["changed", timeText(agent.updateTime)],
    ["position", String(agent.position)],
  ]);
}
