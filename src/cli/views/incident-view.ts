import {
  type Incident,
  IncidentKindSchema,
  IncidentSeveritySchema,
  IncidentStatusSchema,
} from "../../../gen/signalbox/v1/incident_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { principalText, shorten, timeText } from "./values.ts";

/** Links of an incident that are shown; --json has all. */
const maxLinks = 6;

/** Incidents below each other, one line each. */
export function incidentTable(incidents: readonly Incident[]): string {
  return table(
    ["INCIDENT", "STATUS", "SEVERITY", "KIND", "TIMES", "OPENED", "TITLE"],
    incidents.map((incident) => [
      incident.incidentId,
      enumName(IncidentStatusSchema, incident.status),
      enumName(IncidentSeveritySchema, incident.severity),
      enumName(IncidentKindSchema, incident.kind),
      String(incident.occurrenceCount),
      timeText(incident.createTime),
      shorten(incident.title, 80),
    ]),
  );
}

/** Everything that people want to know about an incident; what was written about it below empty lines. */
export function incidentView(incident: Incident): string {
  const head = fields([
    ["incident", incident.incidentId],
    ["title", incident.title],
    ["status", enumName(IncidentStatusSchema, incident.status)],
    ["severity", enumName(IncidentSeveritySchema, incident.severity)],
    ["kind", enumName(IncidentKindSchema, incident.kind)],
    ["cause", incident.cause],
    ["times", String(incident.occurrenceCount)],
    ["about", linksText(incident.links)],
    ["room", incident.roomId],
    ["opened", by(incident.createTime, incident.createBy)],
    ["taken up", by(incident.acknowledgeTime, incident.acknowledgeBy)],
    ["resolved", by(incident.resolveTime, incident.resolveBy)],
    ["root cause", incident.rootCause],
    ["learning", incident.learning],
    ["position", String(incident.position)],
  ]);
  const description = incident.description === "" ? [] : [incident.description.trimEnd()];
  const notes = incident.notes.map(
    ({ text, createBy, createTime }) => `${by(createTime, createBy)}\n${text.trimEnd()}`,
  );
  return [head, ...description, ...notes].join("\n\n");
}

/** The ids of the first links, and how many more there are. */
function linksText(links: Incident["links"]): string {
  const shown = links.slice(0, maxLinks).map(({ id }) => id);
  return [...shown, ...(links.length > maxLinks ? [`and ${links.length - maxLinks} more`] : [])].join(", ");
}

function by(time: Incident["createTime"], who: Incident["createBy"]): string {
  return time === undefined ? "" : `${timeText(time)} by ${principalText(who)}`;
}
