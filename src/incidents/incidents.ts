import type { Incident } from "../../gen/signalbox/v1/incident_pb.ts";
import {
  type AcknowledgeIncidentRequest,
  type AddIncidentNoteRequest,
  type ListIncidentsRequest,
  type OpenIncidentRequest,
  OpenIncidentRequestSchema,
  type ResolveIncidentRequest,
} from "../../gen/signalbox/v1/incident_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Draft, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { derivedId } from "../kernel/ids.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { acknowledgeIncident, addNote, incidentNotFound, openIncident, resolveIncident } from "./decider.ts";
import { listIncidents } from "./queries.ts";
import { createReports, type Reports } from "./reports.ts";
import { incidentAggregate, type IncidentState } from "./state.ts";

/** An incident after a command, and where the log stood then. */
export interface IncidentAnswer {
  readonly incident: Incident;
  readonly position: bigint;
}

/** The incidents of all workspaces; every call sees its own workspace only. */
export interface Incidents extends Reports {
  /** Opens an incident. REQUEST_ID_REUSED. */
  open(call: Call, request: OpenIncidentRequest): Promise<IncidentAnswer>;
  /** The incident as it is now. INCIDENT_NOT_FOUND. */
  get(call: Call, incidentId: string): Promise<Incident>;
  /** A page of incidents, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListIncidentsRequest): Promise<{ incidents: Incident[]; nextPageToken: string }>;
  /** Takes it up; twice is fine. INCIDENT_NOT_FOUND, INVALID_STATE. */
  acknowledge(call: Call, request: AcknowledgeIncidentRequest): Promise<IncidentAnswer>;
  /** Writes about it. INCIDENT_NOT_FOUND, QUOTA_EXCEEDED. */
  addNote(call: Call, request: AddIncidentNoteRequest): Promise<IncidentAnswer>;
  /** Says why it happened. INCIDENT_NOT_FOUND, INVALID_STATE. */
  resolve(call: Call, request: ResolveIncidentRequest): Promise<IncidentAnswer>;
}

/** What incidents need. */
export interface IncidentsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
}

/** The incidents on a log and its read models. */
export function createIncidents({ db, positions, ...deps }: IncidentsDeps): Incidents {
  const { ids } = deps;
  const aggregates = createAggregates(incidentAggregate, deps);

  async function command(
    call: Call,
    id: string,
    decide: (state: IncidentState) => Draft | undefined,
  ): Promise<IncidentAnswer> {
    return answer(await aggregates.execute({ call, id, decide }), id);
  }

  return {
    ...createReports({ aggregates, db, ids }),
    async open(call, request) {
      const { idempotencyKey, roomId } = request;
      const repeatable = idempotencyKey !== "";
      const id = repeatable ? derivedId("inc", call.workspaceId, "OpenIncident", idempotencyKey) : ids.next("inc");
      const digest = repeatable ? requestDigest(OpenIncidentRequestSchema, request) : new Uint8Array();
      const decide = (state: IncidentState) => openIncident(state, { incidentId: id, request, requestDigest: digest });
      return answer(await aggregates.execute({ call, id, creation: { roomId, repeatable }, decide }), id);
    },
    async get({ workspaceId }, incidentId) {
      const { state } = await aggregates.load(workspaceId, incidentId);
      if (state.status === "absent") throw incidentNotFound(incidentId);
      return state.incident;
    },
    async list({ workspaceId, signal }, request) {
      const { statuses, roomId, minSeverity, kinds, pageSize, pageToken, minPosition } = request;
      const filters = [workspaceId, statuses, roomId, minSeverity, kinds];
      const page = readPage("incidents", filters, pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const query = { workspaceId, statuses, roomId, minSeverity, kinds, page };
      const { items, nextPageToken } = await listIncidents(db, query);
      return { incidents: items, nextPageToken };
    },
    acknowledge: (call, request) => command(call, request.incidentId, (state) => acknowledgeIncident(state, request)),
    addNote: (call, request) => command(call, request.incidentId, (state) => addNote(state, request, call.principal)),
    resolve: (call, request) => command(call, request.incidentId, (state) => resolveIncident(state, request)),
  };
}

function answer({ state, position }: Loaded<IncidentState>, incidentId: string): IncidentAnswer {
  if (state.status === "absent") throw incidentNotFound(incidentId);
  return { incident: state.incident, position };
}
