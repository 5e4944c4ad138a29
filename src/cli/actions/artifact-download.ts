import { readFile } from "node:fs/promises";
import { toJson } from "@bufbuild/protobuf";
import { type Artifact, ArtifactSchema } from "../../../gen/signalbox/v1/artifact_pb.ts";
import { safeFileName } from "../../bundles/file-name.ts";
import {
  ArtifactMismatchError,
  downloadArtifact,
  openSealedArtifact,
  SealBrokenError,
  type SignalboxClient,
  WrongIdentityError,
} from "../../client/client.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { DownloadArtifactOptions } from "../commands/artifact-transfer.ts";
import { openPartialFile } from "../partial-file.ts";
import { requireNoFile, saveFile } from "../save-file.ts";
import { sizeText } from "../views/values.ts";
import { openClient } from "./client.ts";

/** `signalbox artifacts download`. */
export async function download(cli: Cli, artifactId: string, options: DownloadArtifactOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const { artifact } = await client.artifacts.getArtifact({ artifactId }, { signal: cli.signal });
  if (artifact === undefined) throw new Error("the server answered without an artifact");
  const identity = await identityFor(artifact, options);
  // The artifact's name is what somebody else says: of it only what can do no harm.
  const { output: path = safeFileName(artifact.name), force = false } = options;
  try {
    if (path === "-") return await toStdout(cli, artifact, bytesOf(cli, client, artifact, identity));
    if (identity === undefined) await saveResumably(cli, client, artifact, path, force);
    else await saveFile(path, force, told(cli, artifact, bytesOf(cli, client, artifact, identity)));
  } catch (error) {
    throw explained(error);
  }
  cli.output.progress("");
  cli.output.show(
    { path, artifact: toJson(ArtifactSchema, artifact) },
    `wrote ${path}: ${sizeText(artifact.sizeBytes)}, SHA-256 ${artifact.sha256}`,
  );
  return exitCodes.ok;
}

async function identityFor(artifact: Artifact, options: DownloadArtifactOptions): Promise<string | undefined> {
  const recipient = artifact.encryption?.recipient ?? "";
  if (recipient === "" && options.identity === undefined) return undefined;
  if (recipient === "") throw usageError("it is not sealed to a recipient", "Leave --identity out.");
  if (options.identity === undefined) {
    throw usageError(`it is sealed to ${recipient}`, "Give the age identity file of that recipient with --identity.");
  }
  try {
    return await readFile(options.identity, "utf8");
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`--identity can not be read: ${cause}`, "Give the path of a file that age-keygen wrote.");
  }
}

function bytesOf(
  { signal, output }: Cli,
  client: SignalboxClient,
  { artifactId }: Artifact,
  identity: string | undefined,
  have?: Blob,
): AsyncIterable<Uint8Array> {
  if (identity !== undefined) return openSealedArtifact(client, artifactId, { identity, signal });
  const onRetry = (error: unknown) => output.note(`connection lost, trying again: ${String(error)}`);
  return downloadArtifact(client, artifactId, { have, signal, onRetry });
}

/** Keeps what has come of a download that breaks off, and goes on there the next time. */
async function saveResumably(
  cli: Cli,
  client: SignalboxClient,
  artifact: Artifact,
  path: string,
  force: boolean,
): Promise<void> {
  if (!force) await requireNoFile(path);
  await using partial = await openPartialFile(path, artifact.artifactId, Number(artifact.sizeBytes));
  try {
    const bytes = bytesOf(cli, client, artifact, undefined, partial.have);
    for await (const piece of told(cli, artifact, bytes, partial.have.size)) await partial.append(piece);
  } catch (error) {
    if (error instanceof ArtifactMismatchError) await partial.discard();
    else if (cli.signal.aborted) cli.output.note("interrupted; the same command goes on where it stopped");
    throw error;
  }
  await partial.finish(force);
}

/** The bytes, while people are told how many have come. */
async function* told({ output }: Cli, { name, sizeBytes }: Artifact, bytes: AsyncIterable<Uint8Array>, before = 0) {
  let come = before;
  for await (const piece of bytes) {
    yield piece;
    come += piece.length;
    output.progress(`downloading ${name}  ${sizeText(come)} of ${sizeText(sizeBytes)}`);
  }
}

async function toStdout({ output }: Cli, artifact: Artifact, bytes: AsyncIterable<Uint8Array>): Promise<ExitCode> {
  if (output.columns !== undefined && !artifact.contentType.startsWith("text/plain")) {
    throw usageError("stdout is a terminal, which the file may garble", "Name a file with -o, or pipe it on.");
  }
  for await (const piece of bytes) await output.raw(piece);
  return exitCodes.ok;
}

function explained(error: unknown): unknown {
  if (error instanceof ArtifactMismatchError) {
    return new CliError(error.message, "Nothing was kept: repeat the command.", exitCodes.failed, { cause: error });
  }
  if (error instanceof WrongIdentityError) return usageError(error.message, "--identity names the file.");
  if (error instanceof SealBrokenError) {
    const message = `the sealed bytes are damaged: ${error.message}`;
    return new CliError(message, "Its producer has to store it again.", exitCodes.failed, { cause: error });
  }
  return error;
}
