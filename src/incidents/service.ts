import type { ConnectRouter } from "@connectrpc/connect";
import { IncidentService } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Incidents } from "./incidents.ts";

/** Serves IncidentService. */
export function incidentRoutes(router: ConnectRouter, incidents: Incidents): void {
  router.service(IncidentService, {
    openIncident: (request, context) => incidents.open(callOf(context), request),
    getIncident: async (request, context) => ({ incident: await incidents.get(callOf(context), request.incidentId) }),
    listIncidents: (request, context) => incidents.list(callOf(context), request),
    acknowledgeIncident: (request, context) => incidents.acknowledge(callOf(context), request),
    addIncidentNote: (request, context) => incidents.addNote(callOf(context), request),
    resolveIncident: (request, context) => incidents.resolve(callOf(context), request),
  });
}
