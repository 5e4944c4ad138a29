import { IncidentSchema } from "../../gen/signalbox/v1/incident_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveIncident } from "./resource.ts";

/** The tables of this noun. */
export const incidentProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "incidents",
    idColumn: "incident_id",
    schema: IncidentSchema,
    columns: [
      { name: "room_id", type: "text", value: (incident) => incident.roomId },
      { name: "status", type: "smallint", value: (incident) => incident.status },
      { name: "severity", type: "smallint", value: (incident) => incident.severity },
      { name: "kind", type: "smallint", value: (incident) => incident.kind },
      { name: "cause", type: "text", value: (incident) => incident.cause },
    ],
    idsOf: ({ stream }) => (stream?.type === "incident" ? [stream.id] : []),
    evolve: evolveIncident,
  }),
];
