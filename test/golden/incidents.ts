import { create } from "@bufbuild/protobuf";
import {
  IncidentAcknowledgedSchema,
  IncidentNoteAddedSchema,
  IncidentOpenedSchema,
  IncidentRecurredSchema,
  IncidentResolvedSchema,
} from "../../gen/signalbox/v1/incident_event_pb.ts";
import { IncidentKind, IncidentSeverity } from "../../gen/signalbox/v1/incident_pb.ts";
import { digest, otherRunId, runId } from "./values.ts";

/** What went wrong, and what people found out. */
export const incidentPayloads = {
  incidentOpened: create(IncidentOpenedSchema, {
    title: "Points do not answer",
    description: "Track 4 is **blocked** — später mehr.",
    severity: IncidentSeverity.HIGH,
    kind: IncidentKind.ATTEMPTS_EXHAUSTED,
    cause: "attempts_exhausted/points/TIMEOUT",
    links: [{ type: "run", id: runId }],
    requestDigest: digest,
  }),
  incidentRecurred: create(IncidentRecurredSchema, { links: [{ type: "run", id: otherRunId }] }),
  incidentAcknowledged: create(IncidentAcknowledgedSchema, { comment: "on my way" }),
  incidentNoteAdded: create(IncidentNoteAddedSchema, { text: "a relay is burnt" }),
  incidentResolved: create(IncidentResolvedSchema, { rootCause: "a burnt relay", learning: "look at relays yearly" }),
};
