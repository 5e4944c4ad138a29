import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption, durationOption } from "../option-values.ts";
import { addSharing } from "./artifact-sharing.ts";
import { addTransfer } from "./artifact-transfer.ts";

/** How an artifact may be, as people type it. */
export const artifactStatuses = ["available", "deleted", "expired", "purged"] as const;

/** Options of `artifacts list`. */
export interface ListArtifactsOptions {
  readonly run?: string;
  readonly room?: string;
  readonly name?: string;
  readonly status?: readonly (typeof artifactStatuses)[number][];
  readonly stepOutputs?: true;
  readonly limit: number;
}

/** Options of `artifacts delete`. */
export interface DeleteArtifactOptions {
  readonly reason?: string;
  readonly permanent?: true;
  readonly yes?: true;
}

/** Options of `artifacts restore`. */
export interface RestoreArtifactOptions {
  readonly reason?: string;
  /** Milliseconds. */
  readonly retention?: number;
}

/** Options of `artifacts hold` and `release`. */
export interface HoldOptions {
  readonly reason: string;
}

/** Adds `artifacts`. */
export function addArtifacts(program: Command, act: Act): void {
  const artifacts = program.command("artifacts").description("keep files: what runs produce, sealed at rest");
  addReading(artifacts, act);
  addTransfer(artifacts, act);
  addEnding(artifacts, act);
  addHolding(artifacts, act);
  addSharing(artifacts, act);
}

function addReading(artifacts: Command, act: Act): void {
  artifacts
    .command("list")
    .alias("ls")
    .description("list artifacts, newest first")
    .option("--run <run-id>", "only those of this run")
    .option("--room <room-id>", "only those of this room")
    .option("--name <name>", "only those of exactly this name")
    .option("--status <statuses>", `only some of ${artifactStatuses.join(", ")}`, choicesOption(artifactStatuses))
    .option("--step-outputs", "the outputs of steps that are too large for the log, in place of files")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox artifacts list --run run_01J…
  $ signalbox artifacts list --status available --json | jq -r .name`,
    )
    .action((options: ListArtifactsOptions) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).listArtifacts(cli, options)),
    );
  artifacts
    .command("show <artifact-id>")
    .alias("get")
    .description("show what is on record of an artifact, also after its bytes are gone")
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts show art_01J…")
    .action((artifactId: string) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).showArtifact(cli, artifactId)),
    );
  artifacts
    .command("usage")
    .description("show how much the workspace keeps, and how much it may")
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts usage")
    .action(() => act(async (cli) => (await import("../actions/artifacts.ts")).showUsage(cli)));
}

function addEnding(artifacts: Command, act: Act): void {
  artifacts
    .command("delete <artifact-id>")
    .description("take an artifact away before its time; its owner's right")
    .option("--reason <text>", "why, for people")
    .option("--permanent", "destroy its key and its bytes at once: nobody can restore them")
    .option("--yes", "do not ask, with --permanent")
    .addHelpText(
      "after",
      `
Without --permanent it can be restored for a day, as the installation says.

Examples:
  $ signalbox artifacts delete art_01J… --reason "wrong file"
  $ signalbox artifacts delete art_01J… --permanent --yes`,
    )
    .action((artifactId: string, options: DeleteArtifactOptions) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).deleteArtifact(cli, artifactId, options)),
    );
  artifacts
    .command("restore <artifact-id>")
    .description("take a deleted or expired artifact back before it is purged; its owner's right")
    .option("--reason <text>", "why, for people")
    .option("--retention <duration>", "how long it is kept from now on (default: the longest allowed)", durationOption)
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts restore art_01J… --retention 2d")
    .action((artifactId: string, options: RestoreArtifactOptions) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).restoreArtifact(cli, artifactId, options)),
    );
}

function addHolding(artifacts: Command, act: Act): void {
  artifacts
    .command("hold <artifact-id>")
    .description("put a legal hold on an artifact: it neither expires nor can be deleted")
    .requiredOption("--reason <text>", "why, for people")
    .addHelpText("after", '\nExamples:\n  $ signalbox artifacts hold art_01J… --reason "case 12"')
    .action((artifactId: string, options: HoldOptions) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).setHold(cli, artifactId, true, options)),
    );
  artifacts
    .command("release <artifact-id>")
    .description("take the legal hold off; an artifact whose time is over goes then")
    .requiredOption("--reason <text>", "why, for people")
    .addHelpText("after", '\nExamples:\n  $ signalbox artifacts release art_01J… --reason "case 12 is closed"')
    .action((artifactId: string, options: HoldOptions) =>
      act(async (cli) => (await import("../actions/artifacts.ts")).setHold(cli, artifactId, false, options)),
    );
}
