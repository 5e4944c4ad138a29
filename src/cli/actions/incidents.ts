import { toJson } from "@bufbuild/protobuf";
import {
  type Incident,
  IncidentKind,
  IncidentSchema,
  IncidentSeverity,
  IncidentStatus,
} from "../../../gen/signalbox/v1/incident_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type {
  AcknowledgeOptions,
  ListIncidentsOptions,
  OpenIncidentOptions,
  ResolveOptions,
} from "../commands/incidents.ts";
import { given } from "../given.ts";
import { incidentTable, incidentView } from "../views/incident-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { textArgument } from "./text-argument.ts";

const statusOf = {
  open: IncidentStatus.OPEN,
  acknowledged: IncidentStatus.ACKNOWLEDGED,
  resolved: IncidentStatus.RESOLVED,
} as const satisfies Record<NonNullable<ListIncidentsOptions["status"]>[number], IncidentStatus>;

const severityOf = {
  low: IncidentSeverity.LOW,
  medium: IncidentSeverity.MEDIUM,
  high: IncidentSeverity.HIGH,
  critical: IncidentSeverity.CRITICAL,
} as const satisfies Record<NonNullable<OpenIncidentOptions["severity"]>, IncidentSeverity>;

const kindOf = {
  manual: IncidentKind.MANUAL,
  attempts_exhausted: IncidentKind.ATTEMPTS_EXHAUSTED,
  fenced_write: IncidentKind.FENCED_WRITE,
  kill_switch: IncidentKind.KILL_SWITCH,
  hash_mismatch: IncidentKind.HASH_MISMATCH,
  projector_stalled: IncidentKind.PROJECTOR_STALLED,
  mention_loop: IncidentKind.MENTION_LOOP,
  outcome_unknown: IncidentKind.OUTCOME_UNKNOWN,
} as const satisfies Record<NonNullable<ListIncidentsOptions["kind"]>[number], IncidentKind>;

/** `signalbox incidents ls`. */
export async function listIncidents(cli: Cli, options: ListIncidentsOptions): Promise<ExitCode> {
  const { status = [], kind = [], minSeverity, room = "", limit } = options;
  using client = openClient(cli);
  const filters = {
    statuses: status.map((name) => statusOf[name]),
    kinds: kind.map((name) => kindOf[name]),
    roomId: room,
    ...given({ minSeverity: minSeverity && severityOf[minSeverity] }),
  };
  const incidents: Incident[] = await pages(limit, async (page) => {
    const response = await client.incidents.listIncidents({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.incidents, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, incidents, (incident) => toJson(IncidentSchema, incident), incidentTable);
  return exitCodes.ok;
}

/** `signalbox incidents show`. */
export async function showIncident(cli: Cli, incidentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.incidents.getIncident({ incidentId }, { signal: cli.signal })).incident);
}

/** `signalbox incidents open`. */
export async function openIncident(cli: Cli, title: string, options: OpenIncidentOptions): Promise<ExitCode> {
  const { severity, room = "", link = [], idempotencyKey = "" } = options;
  const description = await optionalText("--description", options.description);
  using client = openClient(cli);
  const request = {
    title,
    description,
    roomId: room,
    links: [...link],
    idempotencyKey,
    ...given({ severity: severity && severityOf[severity] }),
  };
  return show(cli, (await client.incidents.openIncident(request, { signal: cli.signal })).incident);
}

/** `signalbox incidents ack`. */
export async function acknowledge(
  cli: Cli,
  incidentId: string,
  { comment = "" }: AcknowledgeOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { incidentId, comment };
  return show(cli, (await client.incidents.acknowledgeIncident(request, { signal: cli.signal })).incident);
}

/** `signalbox incidents note`. */
export async function addNote(cli: Cli, incidentId: string, written: string): Promise<ExitCode> {
  const text = await textArgument("<text>", written);
  using client = openClient(cli);
  const request = { incidentId, text };
  return show(cli, (await client.incidents.addIncidentNote(request, { signal: cli.signal })).incident);
}

/** `signalbox incidents resolve`. */
export async function resolve(cli: Cli, incidentId: string, options: ResolveOptions): Promise<ExitCode> {
  const rootCause = await textArgument("--root-cause", options.rootCause);
  const learning = await optionalText("--learning", options.learning);
  using client = openClient(cli);
  const request = { incidentId, rootCause, learning };
  return show(cli, (await client.incidents.resolveIncident(request, { signal: cli.signal })).incident);
}

async function optionalText(option: string, text: string | undefined): Promise<string> {
  return text === undefined ? "" : textArgument(option, text);
}

function show({ output }: Cli, incident: Incident | undefined): ExitCode {
  if (incident === undefined) throw new Error("the server answered without an incident");
  output.show(toJson(IncidentSchema, incident), incidentView(incident));
  return exitCodes.ok;
}
