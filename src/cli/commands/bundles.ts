import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { listOption } from "../option-values.ts";

/** Options of `bundle`. */
export interface BundleOptions {
  /** `-` for stdout. */
  readonly output?: string;
  readonly force?: true;
  readonly artifact?: readonly string[];
  readonly withoutArtifacts?: true;
}

/** Adds `bundle`. */
export function addBundles(program: Command, act: Act): void {
  program
    .command("bundle <run-id>")
    .description("download a run with its events and artifacts as one zip that proves itself")
    .option("-o, --output <file>", "where to write it, - for stdout (default: the run's id and .zip)")
    .option("--force", "write it where there is a file already")
    .option("--artifact <ids>", "only the bytes of these artifacts; may be given more than once", listOption)
    .option("--without-artifacts", "no bytes of artifacts")
    .addHelpText(
      "after",
      `
The same run gives the same bytes. What you may not read, and what is gone, is named in it without its bytes. What was written
is verified at once; write down the head hash apart from the file: it pins the file to the log (signalbox verify --head).

Examples:
  $ signalbox bundle run_01J…
  $ signalbox bundle run_01J… -o evidence.zip --artifact art_01J…
  $ signalbox bundle run_01J… --without-artifacts -o - | sha256sum`,
    )
    .action((runId: string, options: BundleOptions) =>
      act(async (cli) => (await import("../actions/bundle.ts")).bundleRun(cli, runId, options)),
    );
}
