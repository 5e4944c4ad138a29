import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { durationOption, labelOption } from "../option-values.ts";

/** Options of `artifacts upload`. */
export interface UploadArtifactOptions {
  readonly run?: string;
  readonly room?: string;
  readonly name?: string;
  readonly contentType?: string;
  readonly recipient?: string;
  readonly workspaceVisible?: true;
  /** Milliseconds. */
  readonly retention?: number;
  readonly label?: Record<string, string>;
  readonly requestId?: string;
}

/** Options of `artifacts download`. */
export interface DownloadArtifactOptions {
  /** `-` for stdout. */
  readonly output?: string;
  readonly force?: true;
  /** The path of an age identity file. */
  readonly identity?: string;
}

/** Adds `upload` and `download`. */
export function addTransfer(artifacts: Command, act: Act): void {
  artifacts
    .command("upload <file>")
    .description("store a file, or - for stdin")
    .option("--run <run-id>", "the run that it belongs to, which has to be open")
    .option("--room <room-id>", "the room whose feed shows it (default: that of the run)")
    .option("--name <text>", "what people call it (default: the name of the file)")
    .option("--content-type <type>", "its media type (default: application/octet-stream)")
    .option("--recipient <age1…>", "seal it to this age recipient: the server can not read it then")
    .option("--workspace-visible", "everybody in the workspace may read it, not only its owner and who is granted")
    .option("--retention <duration>", "how long it is kept (default: the longest allowed)", durationOption)
    .option("--label <key=value>", "a key and a value of your own; may be given more than once", labelOption)
    .option("--request-id <id>", "makes it repeatable: the same id answers the same artifact (default: see below)")
    .addHelpText(
      "after",
      `
A file is sent in chunks, four at a time. When that was interrupted, the same command goes on where it stopped, for 24 hours, and
when it was not, it answers the artifact that is there: the request id is made of the file's SHA-256 and the options. Give an id
of your own to store the same file twice. What comes from stdin is sent once, as it comes.

Examples:
  $ signalbox artifacts upload report.pdf --run run_01J… --content-type application/pdf
  $ pg_dump shop | gzip | signalbox artifacts upload - --name shop.sql.gz --retention 2d
  $ signalbox artifacts upload salaries.csv --recipient age1…`,
    )
    .action((file: string, options: UploadArtifactOptions) =>
      act(async (cli) => (await import("../actions/artifact-upload.ts")).upload(cli, file, options)),
    );
  artifacts
    .command("download <artifact-id>")
    .description("fetch an artifact's bytes, checked against what is on record")
    .option("-o, --output <file>", "where to write them, - for stdout (default: the artifact's name, made harmless)")
    .option("--force", "write them where there is a file already")
    .option("--identity <file>", "open an artifact that is sealed to a recipient with this age identity file")
    .addHelpText(
      "after",
      `
The file appears when it is complete and has the right SHA-256; until then the bytes are beside it, in a file that ends in .part. When
that was interrupted, the same command goes on where it stopped. An identity file stays on this machine: the bytes are opened here.

Examples:
  $ signalbox artifacts download art_01J…
  $ signalbox artifacts download art_01J… -o - | tar tz
  $ signalbox artifacts download art_01J… --identity ~/.age/key.txt`,
    )
    .action((artifactId: string, options: DownloadArtifactOptions) =>
      act(async (cli) => (await import("../actions/artifact-download.ts")).download(cli, artifactId, options)),
    );
}
