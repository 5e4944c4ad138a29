import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { IncidentKind, IncidentLink, IncidentSeverity } from "../../gen/signalbox/v1/incident_pb.ts";

/** Something that went wrong, found by Signalbox itself. */
export interface Occurrence {
  readonly workspaceId: string;
  /** The room of what it is about; empty for none. */
  readonly roomId: string;
  readonly zone: Zone;
  readonly kind: IncidentKind;
  readonly severity: IncidentSeverity;
  /** What went wrong: the same again is the same incident, as long as that is open. Holds no NUL. */
  readonly cause: string;
  readonly title: string;
  /** Markdown. */
  readonly description: string;
  /** What it is about. An occurrence whose every link an incident has already is one that it knows. */
  readonly links: readonly Pick<IncidentLink, "type" | "id">[];
}
