import type { ConnectRouter } from "@connectrpc/connect";
import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Agents } from "./agents.ts";

/** Serves AgentService. */
export function agentRoutes(router: ConnectRouter, agents: Agents): void {
  router.service(AgentService, {
    createAgent: (request, context) => agents.create(callOf(context), request),
    getAgent: (request, context) => agents.get(callOf(context), request),
    updateAgent: (request, context) => agents.update(callOf(context), request),
    archiveAgent: (request, context) => agents.archive(callOf(context), request),
    listAgents: (request, context) => agents.list(callOf(context), request),
  });
}
