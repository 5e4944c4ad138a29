import { create } from "@bufbuild/protobuf";
import { type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  IncidentAcknowledgedSchema,
  IncidentNoteAddedSchema,
  IncidentOpenedSchema,
  IncidentRecurredSchema,
  IncidentResolvedSchema,
} from "../../gen/signalbox/v1/incident_event_pb.ts";
import { type Incident, IncidentKind, IncidentSeverity } from "../../gen/signalbox/v1/incident_pb.ts";
import type {
  AcknowledgeIncidentRequest,
  AddIncidentNoteRequest,
  OpenIncidentRequest,
  ResolveIncidentRequest,
} from "../../gen/signalbox/v1/incident_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { EventPayload } from "../eventlog/event-type.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { personBehind, principalName } from "../kernel/principal.ts";
import type { Occurrence } from "./occurrence.ts";
import { type IncidentState, type KnownIncident, linkKey } from "./state.ts";

/** Occurrences that one incident records, the first included; what comes after them changes nothing any more. */
export const maxOccurrences = 100;
/** Notes of an incident, and what they may hold together: an incident has to fit into one answer. */
export const maxNotes = 500;
const maxNotesBytes = 1024 * 1024;

/** A request to open an incident, and what the edge knows about it. */
export interface NewIncident {
  readonly incidentId: string;
  readonly request: OpenIncidentRequest;
  /** SHA-256 of the request; empty without idempotency_key. */
  readonly requestDigest: Uint8Array;
}

/** incident.opened; nothing when the same request opened it before. REQUEST_ID_REUSED when another one did. */
export function openIncident(
  state: IncidentState,
  { incidentId, request, requestDigest }: NewIncident,
): Draft | undefined {
  const { idempotencyKey, title, description, severity, links } = request;
  if (state.status !== "absent") {
    if (equalBytes(state.requestDigest, requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `idempotency_key ${JSON.stringify(idempotencyKey)} has opened ${incidentId} with another body; use a new one`,
      { incident_id: incidentId },
    );
  }
  const value = create(IncidentOpenedSchema, {
    title,
    description,
    severity: severity === IncidentSeverity.UNSPECIFIED ? IncidentSeverity.MEDIUM : severity,
    kind: IncidentKind.MANUAL,
    links,
    requestDigest,
  });
  return draft({ case: "incidentOpened", value }, Zone.SANDBOX);
}

/**
 * incident.opened, or incident.recurred when it is there already; nothing when it knows the occurrence, has recorded enough
 * of them, or is resolved: whether that calls for another incident is not this one's to say.
 */
export function recordOccurrence(state: IncidentState, occurrence: Occurrence): Draft | undefined {
  const { kind, severity, cause, title, description, zone } = occurrence;
  const links = occurrence.links.map(({ type, id }) => ({ type, id }));
  switch (state.status) {
    case "absent": {
      const value = create(IncidentOpenedSchema, { title, description, severity, kind, cause, links });
      return draft({ case: "incidentOpened", value }, zone);
    }
    case "open":
    case "acknowledged":
      if (isFull(state) || links.every((link) => state.seen.has(linkKey(link)))) return undefined;
      return draft({ case: "incidentRecurred", value: create(IncidentRecurredSchema, { links }) }, zone);
    case "resolved":
      return undefined;
  }
}

/** True when an incident records no further occurrence. */
export function isFull({ incident }: KnownIncident): boolean {
  return incident.occurrenceCount >= maxOccurrences;
}

/** incident.acknowledged; nothing when somebody has. INCIDENT_NOT_FOUND, INVALID_STATE when it is resolved. */
export function acknowledgeIncident(state: IncidentState, request: AcknowledgeIncidentRequest): Draft | undefined {
  const { incidentId, comment } = request;
  switch (state.status) {
    case "absent":
      throw incidentNotFound(incidentId);
    case "open": {
      const value = create(IncidentAcknowledgedSchema, { comment });
      return draft({ case: "incidentAcknowledged", value }, state.zone);
    }
    case "acknowledged":
      return undefined;
    case "resolved":
      throw resolvedAlready(incidentId, "there is nothing to look into any more; open another one if it happens again");
  }
}

/** incident.note_added; nothing when it is what its author wrote last. INCIDENT_NOT_FOUND, QUOTA_EXCEEDED. */
export function addNote(state: IncidentState, request: AddIncidentNoteRequest, author: Principal): Draft | undefined {
  const { incidentId, text } = request;
  if (state.status === "absent") throw incidentNotFound(incidentId);
  const { notes } = state.incident;
  const name = authorName(author);
  if (notes.findLast(({ createBy }) => createBy && authorName(createBy) === name)?.text === text) return undefined;
  requireRoom(state.incident, text);
  return draft({ case: "incidentNoteAdded", value: create(IncidentNoteAddedSchema, { text }) }, state.zone);
}

function authorName(principal: Principal): string {
  return principalName(personBehind(principal));
}

function requireRoom({ incidentId, notes }: Incident, text: string): void {
  const bytes = notes.reduce((sum, note) => sum + Buffer.byteLength(note.text), Buffer.byteLength(text));
  if (notes.length < maxNotes && bytes <= maxNotesBytes) return;
  const limit = notes.length < maxNotes ? maxNotesBytes : maxNotes;
  throw new SignalboxError(
    "QUOTA_EXCEEDED",
    `incident ${incidentId} has as many notes as it can hold (${maxNotes}, ${maxNotesBytes} bytes together); write on in its room`,
    { limit: String(limit) },
  );
}

/** incident.resolved; nothing when it was resolved with the same words. INCIDENT_NOT_FOUND, INVALID_STATE. */
export function resolveIncident(state: IncidentState, request: ResolveIncidentRequest): Draft | undefined {
  const { incidentId, rootCause, learning } = request;
  switch (state.status) {
    case "absent":
      throw incidentNotFound(incidentId);
    case "open":
    case "acknowledged": {
      const value = create(IncidentResolvedSchema, { rootCause, learning });
      return draft({ case: "incidentResolved", value }, state.zone);
    }
    case "resolved":
      if (state.incident.rootCause === rootCause && state.incident.learning === learning) return undefined;
      throw resolvedAlready(incidentId, "its root cause stays as it was written; add a note instead");
  }
}

/** Unknown ids and ids of another tenant look the same. */
export function incidentNotFound(incidentId: string): SignalboxError {
  return new SignalboxError("INCIDENT_NOT_FOUND", `incident ${incidentId} does not exist in this workspace`);
}

function resolvedAlready(incidentId: string, wayOut: string): SignalboxError {
  return new SignalboxError("INVALID_STATE", `incident ${incidentId} is resolved: ${wayOut}`, { status: "resolved" });
}

function draft(payload: EventPayload, zone: Zone): Draft {
  return { payload, zone };
}
