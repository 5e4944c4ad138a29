import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { IncidentOpened } from "../../gen/signalbox/v1/incident_event_pb.ts";
import {
  type Incident,
  type IncidentLink,
  IncidentNoteSchema,
  IncidentSchema,
  IncidentStatus,
} from "../../gen/signalbox/v1/incident_pb.ts";

/** An incident shows so many links; what came later is in its events. */
const maxLinks = 100;

/** The incident after an event of its stream; undefined until it is opened. Pure. */
export function evolveIncident(incident: Incident | undefined, event: Event): Incident | undefined {
  const { payload, position } = event;
  if (payload.case === "incidentOpened") return opened(event, payload.value);
  return incident === undefined ? undefined : { ...changed(incident, event), position };
}

function opened(event: Event, { title, description, severity, kind, cause, links }: IncidentOpened): Incident {
  const { workspaceId, roomId, createTime, actor, position } = event;
  return create(IncidentSchema, {
    incidentId: event.stream?.id ?? "",
    workspaceId,
    roomId,
    title,
    description,
    severity,
    status: IncidentStatus.OPEN,
    kind,
    cause,
    links: withLinks([], links),
    occurrenceCount: 1,
    createTime,
    createBy: actor,
    position,
  });
}

function changed(incident: Incident, { payload, createTime, actor }: Event): Incident {
  if (payload.case === "incidentRecurred") {
    const occurrenceCount = incident.occurrenceCount + 1;
    return { ...incident, occurrenceCount, links: withLinks(incident.links, payload.value.links) };
  }
  if (payload.case === "incidentAcknowledged") {
    const acknowledged = { status: IncidentStatus.ACKNOWLEDGED, acknowledgeTime: createTime, acknowledgeBy: actor };
    return { ...incident, ...acknowledged };
  }
  if (payload.case === "incidentNoteAdded") {
    const note = create(IncidentNoteSchema, { text: payload.value.text, createBy: actor, createTime });
    return { ...incident, notes: [...incident.notes, note] };
  }
  if (payload.case === "incidentResolved") {
    const { rootCause, learning } = payload.value;
    const resolved = { status: IncidentStatus.RESOLVED, resolveTime: createTime, resolveBy: actor };
    return { ...incident, ...resolved, rootCause, learning };
  }
  return incident;
}

function withLinks(known: readonly IncidentLink[], more: readonly IncidentLink[]): IncidentLink[] {
  return [...known, ...more.slice(0, maxLinks - known.length)];
}
