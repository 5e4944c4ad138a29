import { toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Artifact,
  ArtifactPurpose,
  ArtifactSchema,
  ArtifactStatus,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import { GetStorageUsageResponseSchema } from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type {
  artifactStatuses,
  DeleteArtifactOptions,
  HoldOptions,
  ListArtifactsOptions,
  RestoreArtifactOptions,
} from "../commands/artifacts.ts";
import { artifactTable, artifactView, usageView } from "../views/artifact-view.ts";
import { openClient } from "./client.ts";
import { confirmed } from "./confirming.ts";
import { pages, showList } from "./listing.ts";

const statusOf = {
  available: ArtifactStatus.AVAILABLE,
  deleted: ArtifactStatus.DELETED,
  expired: ArtifactStatus.EXPIRED,
  purged: ArtifactStatus.PURGED,
} as const satisfies Record<(typeof artifactStatuses)[number], ArtifactStatus>;

/** `signalbox artifacts list`. */
export async function listArtifacts(cli: Cli, options: ListArtifactsOptions): Promise<ExitCode> {
  const { run: runId = "", room: roomId = "", name = "", status = [], stepOutputs = false, limit } = options;
  using client = openClient(cli);
  const filters = {
    runId,
    roomId,
    name,
    statuses: status.map((each) => statusOf[each]),
    purposes: stepOutputs ? [ArtifactPurpose.STEP_OUTPUT] : [],
  };
  const artifacts: Artifact[] = await pages(limit, async (page) => {
    const response = await client.artifacts.listArtifacts({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.artifacts, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, artifacts, (artifact) => toJson(ArtifactSchema, artifact), artifactTable);
  return exitCodes.ok;
}

/** `signalbox artifacts show`. */
export async function showArtifact(cli: Cli, artifactId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.artifacts.getArtifact({ artifactId }, { signal: cli.signal })).artifact);
}

/** `signalbox artifacts delete`. */
export async function deleteArtifact(cli: Cli, artifactId: string, options: DeleteArtifactOptions): Promise<ExitCode> {
  const { reason = "", permanent = false } = options;
  using client = openClient(cli);
  if (permanent) await ask(cli, artifactId, options);
  const request = { artifactId, reason, permanent };
  return show(cli, (await client.artifacts.deleteArtifact(request, { signal: cli.signal })).artifact);
}

async function ask(cli: Cli, artifactId: string, { yes }: DeleteArtifactOptions): Promise<void> {
  if (yes) return;
  if (cli.output.json || !process.stdin.isTTY) {
    throw usageError(
      "nobody can be asked here whether to destroy it for ever",
      "Give --yes, or leave out --permanent.",
    );
  }
  const streams = { input: process.stdin, output: process.stderr };
  if (await confirmed(`Destroy ${artifactId} for ever? (yes/no) `, streams, cli.signal)) return;
  throw new CliError("not destroyed; nothing was recorded", "", exitCodes.failed);
}

/** `signalbox artifacts restore`. */
export async function restoreArtifact(
  cli: Cli,
  artifactId: string,
  { reason = "", retention }: RestoreArtifactOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { artifactId, reason, ...(retention !== undefined && { retention: durationFromMs(retention) }) };
  return show(cli, (await client.artifacts.restoreArtifact(request, { signal: cli.signal })).artifact);
}

/** `signalbox artifacts hold` and `release`. */
export async function setHold(cli: Cli, artifactId: string, held: boolean, { reason }: HoldOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { artifactId, held, reason };
  return show(cli, (await client.artifacts.setLegalHold(request, { signal: cli.signal })).artifact);
}

/** `signalbox artifacts usage`. */
export async function showUsage(cli: Cli): Promise<ExitCode> {
  using client = openClient(cli);
  const answer = await client.artifacts.getStorageUsage({}, { signal: cli.signal });
  cli.output.show(toJson(GetStorageUsageResponseSchema, answer), usageView(answer));
  return exitCodes.ok;
}

function show({ output }: Cli, artifact: Artifact | undefined): ExitCode {
  if (artifact === undefined) throw new Error("the server answered without an artifact");
  output.show(toJson(ArtifactSchema, artifact), artifactView(artifact));
  return exitCodes.ok;
}
