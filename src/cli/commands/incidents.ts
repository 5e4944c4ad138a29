import { type Command, InvalidArgumentError, Option } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption } from "../option-values.ts";

const incidentStatuses = ["open", "acknowledged", "resolved"] as const;
const severities = ["low", "medium", "high", "critical"] as const;
const incidentKinds = [
  "manual",
  "attempts_exhausted",
  "fenced_write",
  "kill_switch",
  "hash_mismatch",
  "projector_stalled",
  "mention_loop",
  "outcome_unknown",
] as const;

/** Something that an incident is about. */
export interface LinkValue {
  readonly type: string;
  readonly id: string;
}

/** Options of `incidents ls`. */
export interface ListIncidentsOptions {
  readonly status?: readonly (typeof incidentStatuses)[number][];
  readonly room?: string;
  readonly minSeverity?: (typeof severities)[number];
  readonly kind?: readonly (typeof incidentKinds)[number][];
  readonly limit: number;
}

/** Options of `incidents open`. */
export interface OpenIncidentOptions {
  /** The text, or @file, or - for stdin. */
  readonly description?: string;
  readonly severity?: (typeof severities)[number];
  readonly room?: string;
  readonly link?: readonly LinkValue[];
  readonly idempotencyKey?: string;
}

/** Options of `incidents ack`. */
export interface AcknowledgeOptions {
  readonly comment?: string;
}

/** Options of `incidents resolve`. */
export interface ResolveOptions {
  readonly rootCause: string;
  readonly learning?: string;
}

/** Adds `incidents`. */
export function addIncidents(program: Command, act: Act): void {
  const incidents = program.command("incidents").description("keep what went wrong until people know why");
  addReading(incidents, act);
  addOpening(incidents, act);
  addWorking(incidents, act);
}

function addReading(incidents: Command, act: Act): void {
  incidents
    .command("ls")
    .alias("list")
    .description("list incidents, newest first")
    .option("--status <statuses>", `some of ${incidentStatuses.join(", ")}`, choicesOption(incidentStatuses))
    .option("--kind <kinds>", `some of ${incidentKinds.join(", ")}`, choicesOption(incidentKinds))
    .addOption(new Option("--min-severity <severity>", "only those at least as bad").choices(severities))
    .option("--room <room-id>", "only incidents of this room")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox incidents ls --status open,acknowledged
  $ signalbox incidents ls --kind outcome_unknown --min-severity high --json`,
    )
    .action((options: ListIncidentsOptions) =>
      act(async (cli) => (await import("../actions/incidents.ts")).listIncidents(cli, options)),
    );
  incidents
    .command("show <incident-id>")
    .alias("get")
    .description("show an incident with its notes")
    .addHelpText("after", "\nExamples:\n  $ signalbox incidents show inc_01J…")
    .action((incidentId: string) =>
      act(async (cli) => (await import("../actions/incidents.ts")).showIncident(cli, incidentId)),
    );
}

function addOpening(incidents: Command, act: Act): void {
  incidents
    .command("open <title>")
    .description("open an incident")
    .option("--description <text>", "what happened, as Markdown: the text, @file, or - for stdin")
    .addOption(new Option("--severity <severity>", "how bad it is (default: medium)").choices(severities))
    .option("--room <room-id>", "the room whose feed shows it")
    .option("--link <type:id>", "what it is about, for example run:run_01J…; may be given more than once", linkOption)
    .option("--idempotency-key <key>", "makes the command repeatable: the same key answers the same incident")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox incidents open "Mail went out twice" --severity high --link run:run_01J…
  $ signalbox incidents open "Index is stale" --description @what-i-saw.md --room room_01J…`,
    )
    .action((title: string, options: OpenIncidentOptions) =>
      act(async (cli) => (await import("../actions/incidents.ts")).openIncident(cli, title, options)),
    );
}

function addWorking(incidents: Command, act: Act): void {
  incidents
    .command("ack <incident-id>")
    .description("say that you look into it")
    .option("--comment <text>", "for people")
    .addHelpText("after", "\nExamples:\n  $ signalbox incidents ack inc_01J… --as user:alice")
    .action((incidentId: string, options: AcknowledgeOptions) =>
      act(async (cli) => (await import("../actions/incidents.ts")).acknowledge(cli, incidentId, options)),
    );
  incidents
    .command("note <incident-id> <text>")
    .description("write about it: the text, @file, or - for stdin")
    .addHelpText("after", '\nExamples:\n  $ signalbox incidents note inc_01J… "The cache was cold"')
    .action((incidentId: string, text: string) =>
      act(async (cli) => (await import("../actions/incidents.ts")).addNote(cli, incidentId, text)),
    );
  incidents
    .command("resolve <incident-id>")
    .description("say why it happened and what will be done otherwise")
    .requiredOption("--root-cause <text>", "why: the text, @file, or - for stdin")
    .option("--learning <text>", "what will be done otherwise: the text, @file, or - for stdin")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox incidents resolve inc_01J… --root-cause "Two keys for one order" --learning "The key is the order's id"`,
    )
    .action((incidentId: string, options: ResolveOptions) =>
      act(async (cli) => (await import("../actions/incidents.ts")).resolve(cli, incidentId, options)),
    );
}

/** One more `type:id`, added to those before. */
function linkOption(text: string, before: readonly LinkValue[] = []): LinkValue[] {
  const [, type = "", id = ""] = /^(run|approval|tool_call|event|message|room):([0-9A-Za-z_-]{1,60})$/.exec(text) ?? [];
  if (type === "") {
    throw new InvalidArgumentError("Give run, approval, tool_call, event, message or room, a colon and an id.");
  }
  return [...before, { type, id }];
}
