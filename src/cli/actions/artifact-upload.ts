import { createHash } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
import { basename } from "node:path";
import type { Readable } from "node:stream";
import { create, type MessageInitShape, toJson, toJsonString } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Artifact,
  ArtifactSchema,
  ArtifactSpecSchema,
  ArtifactStatus,
  ArtifactVisibility,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import type { UploadArtifactRequestSchema } from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import { type SignalboxClient, uploadArtifact, type UploadSpec } from "../../client/client.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { UploadArtifactOptions } from "../commands/artifact-transfer.ts";
import { given } from "../given.ts";
import { readSettings } from "../settings.ts";
import { artifactView } from "../views/artifact-view.ts";
import { sizeText } from "../views/values.ts";
import { openClient } from "./client.ts";

/** `signalbox artifacts upload`. */
export async function upload(cli: Cli, file: string, options: UploadArtifactOptions): Promise<ExitCode> {
  const { output } = cli;
  using client = openClient(cli);
  const spec = specOf(file, options);
  const artifact = await (file === "-"
    ? uploadStream(cli, client, process.stdin, spec, options)
    : uploadFile(cli, client, file, spec, options));
  output.progress("");
  output.show(toJson(ArtifactSchema, artifact), artifactView(artifact));
  requireThere(artifact);
  return exitCodes.ok;
}

function specOf(file: string, options: UploadArtifactOptions): UploadSpec {
  const { run, room, name, contentType, recipient, workspaceVisible = false, retention, label } = options;
  return {
    name: name ?? (file === "-" ? "stdin" : basename(file)),
    visibility: workspaceVisible ? ArtifactVisibility.WORKSPACE : ArtifactVisibility.RESTRICTED,
    ...given({ runId: run, roomId: room, contentType, recipient, labels: label }),
    ...(retention !== undefined && { retention: durationFromMs(retention) }),
  };
}

async function uploadFile(
  cli: Cli,
  client: SignalboxClient,
  file: string,
  spec: UploadSpec,
  { requestId }: UploadArtifactOptions,
): Promise<Artifact> {
  const { output, signal } = cli;
  const told = (storedBytes: number, sizeBytes: number) =>
    output.progress(`uploading ${spec.name}  ${sizeText(storedBytes)} of ${sizeText(sizeBytes)}`);
  const full = { ...spec, sha256: await hashOf(file, signal) };
  try {
    const blob = await openAsBlob(file);
    const repeatable = { requestId: requestId ?? requestIdOf(cli, full), signal, onProgress: told };
    return await uploadArtifact(client, blob, full, repeatable);
  } catch (error) {
    if (signal.aborted) output.note("interrupted; the same command goes on where it stopped, for 24 hours");
    if (error instanceof DOMException && error.name === "NotReadableError") {
      const message = `${file} has changed while it was uploaded; nothing was stored`;
      throw new CliError(message, "Repeat the command when nobody writes to it.", exitCodes.failed, { cause: error });
    }
    throw error;
  }
}

async function hashOf(file: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const piece of createReadStream(file, { signal, highWaterMark: 1024 * 1024 }))
      hash.update(piece as Buffer);
  } catch (error) {
    signal.throwIfAborted();
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`${file} can not be read: ${cause}`, "Give the path of a readable file, or - for stdin.");
  }
  return hash.digest("hex");
}

/** The same for the same file, said the same about it, for the same caller: the command can be repeated. */
function requestIdOf({ env }: Cli, spec: UploadSpec): string {
  const said = toJsonString(ArtifactSpecSchema, create(ArtifactSpecSchema, spec));
  const { onBehalfOf } = readSettings(env);
  return `cli-${createHash("sha256")
    .update(JSON.stringify([said, onBehalfOf]))
    .digest("hex")}`;
}

async function uploadStream(
  { output, signal }: Cli,
  client: SignalboxClient,
  input: Readable,
  spec: UploadSpec,
  { requestId = "" }: UploadArtifactOptions,
): Promise<Artifact> {
  async function* messages(): AsyncGenerator<MessageInitShape<typeof UploadArtifactRequestSchema>> {
    yield { frame: { case: "header", value: { requestId, spec } } };
    let sizeBytes = 0;
    for await (const value of input as AsyncIterable<Buffer>) {
      yield { frame: { case: "data", value } };
      sizeBytes += value.length;
      output.progress(`uploading ${spec.name}  ${sizeText(sizeBytes)}`);
    }
  }
  const { artifact } = await client.artifacts.uploadArtifact(messages(), { signal });
  if (artifact === undefined) throw new Error("the server answered without an artifact");
  return artifact;
}

/** A repeat is answered with the first artifact, whatever became of it. */
function requireThere({ artifactId, status }: Artifact): void {
  if (status === ArtifactStatus.AVAILABLE) return;
  throw new CliError(
    `this was uploaded before, as ${artifactId}, which is not available any more; nothing was stored`,
    "Give another --request-id to store it again, or take it back with signalbox artifacts restore.",
    exitCodes.failed,
  );
}
