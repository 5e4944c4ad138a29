import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type Incident,
  IncidentKind,
  IncidentSeverity,
  type IncidentStatus,
} from "../../gen/signalbox/v1/incident_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";
import type { Occurrence } from "../../src/incidents/occurrence.ts";
import { until } from "../support/until.ts";

/** An event of a run in workspace ws_1, room room_1. */
export function runEvent(payload: EventPayload, id = "run_1"): Event {
  return create(EventSchema, {
    eventId: `event-of-${id}`,
    workspaceId: "ws_1",
    roomId: "room_1",
    stream: { type: "run", id },
    type: eventTypes[payload.case],
    zone: Zone.SUPERVISED,
    actor: { type: PrincipalType.SERVICE, id: "signalbox" },
    correlationId: "corr_1",
    createTime: timestampFromMs(Date.UTC(2026, 0, 1)),
    payload,
  });
}

/** Something that went wrong in workspace ws_1; `id` is what it is about. */
export function occurrence(id: string, given: Partial<Occurrence> = {}): Occurrence {
  return {
    workspaceId: "ws_1",
    roomId: "room_1",
    zone: Zone.SUPERVISED,
    kind: IncidentKind.ATTEMPTS_EXHAUSTED,
    severity: IncidentSeverity.MEDIUM,
    cause: "attempts_exhausted/echo/BROKEN",
    title: "Runs of echo use up their attempts",
    description: "",
    links: [{ type: "run", id }],
    ...given,
  };
}

/** The incidents of the client's workspace once there are so many of these kinds and statuses, oldest first. */
export function incidentsOnce(
  client: SignalboxClient,
  count: number,
  filter: { kinds?: IncidentKind[]; statuses?: IncidentStatus[] } = {},
): Promise<Incident[]> {
  return until(
    async () => {
      const { incidents } = await client.incidents.listIncidents(filter);
      return incidents.length >= count ? incidents.toReversed() : undefined;
    },
    { what: `${count} incidents`, timeoutMs: 20_000 },
  );
}
