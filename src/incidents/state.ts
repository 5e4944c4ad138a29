import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Incident, type IncidentLink, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveIncident } from "./resource.ts";

/** An incident that exists. */
export interface KnownIncident {
  readonly incident: Incident;
  /** SHA-256 of the creating request; empty without idempotency_key. */
  readonly requestDigest: Uint8Array;
  /** How much was at stake where it was opened. */
  readonly zone: Zone;
  /** Every link that it was ever given, as `linkKey` writes it. */
  readonly seen: ReadonlySet<string>;
  /** Where in the log it was resolved; 0 before. What happened up to there belongs to it. */
  readonly resolvePosition: bigint;
}

/** What decisions about an incident rest on. */
export type IncidentState =
  | { readonly status: "absent" }
  | (KnownIncident & { readonly status: "open" | "acknowledged" | "resolved" });

/** Incidents as aggregates. */
export const incidentAggregate: AggregateDefinition<IncidentState> = {
  type: "incident",
  initial: { status: "absent" },
  evolve: evolveIncidentState,
};

/** The state after one more event. Pure. */
export function evolveIncidentState(state: IncidentState, event: Event): IncidentState {
  const before = state.status === "absent" ? undefined : state;
  const incident = evolveIncident(before?.incident, event);
  if (incident === undefined) return state;
  const { payload } = event;
  return {
    status: statusOf(incident),
    incident,
    requestDigest:
      payload.case === "incidentOpened" ? payload.value.requestDigest : (before?.requestDigest ?? new Uint8Array()),
    zone: before?.zone ?? event.zone,
    seen: withSeen(before?.seen, event),
    resolvePosition: payload.case === "incidentResolved" ? event.position : (before?.resolvePosition ?? 0n),
  };
}

/** What tells one link from another. */
export function linkKey({ type, id }: Pick<IncidentLink, "type" | "id">): string {
  return `${type}/${id}`;
}

function withSeen(seen: ReadonlySet<string> = new Set(), { payload }: Event): ReadonlySet<string> {
  if (payload.case !== "incidentOpened" && payload.case !== "incidentRecurred") return seen;
  return new Set([...seen, ...payload.value.links.map(linkKey)]);
}

function statusOf({ incidentId, status }: Incident): Exclude<IncidentState["status"], "absent"> {
  switch (status) {
    case IncidentStatus.OPEN:
      return "open";
    case IncidentStatus.ACKNOWLEDGED:
      return "acknowledged";
    case IncidentStatus.RESOLVED:
      return "resolved";
    case IncidentStatus.UNSPECIFIED:
    default:
      throw new Error(`incident ${incidentId} has status ${status}, which this program does not know`);
  }
}
