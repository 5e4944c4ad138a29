import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ArtifactAccess,
  ArtifactAccessSchema,
  AccessOutcome,
  type ArtifactGrant,
  ArtifactGrantSchema,
  DownloadLinkSchema,
  type GranteeSchema,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import {
  CreateDownloadUrlResponseSchema,
  ListGrantsResponseSchema,
} from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { accessOutcomes, ExpiringOptions, ListAccessOptions } from "../commands/artifact-sharing.ts";
import { accessTable, grantText, linkText, sharingTable } from "../views/access-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

const outcomeOf = {
  granted: AccessOutcome.GRANTED,
  refused: AccessOutcome.REFUSED,
  not_found: AccessOutcome.NOT_FOUND,
  gone: AccessOutcome.GONE,
  rate_limited: AccessOutcome.RATE_LIMITED,
} as const satisfies Record<(typeof accessOutcomes)[number], AccessOutcome>;

/** `signalbox artifacts grant`. */
export async function grant(
  cli: Cli,
  artifactId: string,
  grantee: string,
  { expiresIn }: ExpiringOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const expireTime = expiresIn === undefined ? undefined : timestampFromMs(Date.now() + expiresIn);
  const request = { artifactId, grantee: granteeOf(grantee), ...(expireTime !== undefined && { expireTime }) };
  return showGrant(cli, (await client.artifacts.grantAccess(request, { signal: cli.signal })).grant);
}

/** `signalbox artifacts revoke`. */
export async function revoke(cli: Cli, artifactId: string, grantId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { artifactId, grantId };
  return showGrant(cli, (await client.artifacts.revokeAccess(request, { signal: cli.signal })).grant);
}

/** `signalbox artifacts grants`. */
export async function listGrants(cli: Cli, artifactId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const answer = await client.artifacts.listGrants({ artifactId }, { signal: cli.signal });
  cli.output.show(toJson(ListGrantsResponseSchema, answer), sharingTable(answer.grants, answer.links));
  return exitCodes.ok;
}

/** `signalbox artifacts link`: the URL alone on stdout, so that it can be passed on. */
export async function link(cli: Cli, artifactId: string, { expiresIn }: ExpiringOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { artifactId, ...(expiresIn !== undefined && { expiresIn: durationFromMs(expiresIn) }) };
  const answer = await client.artifacts.createDownloadUrl(request, { signal: cli.signal });
  cli.output.show(toJson(CreateDownloadUrlResponseSchema, answer), answer.url);
  if (!cli.output.json && answer.link !== undefined) cli.output.note(linkText(answer.link));
  return exitCodes.ok;
}

/** `signalbox artifacts unlink`. */
export async function unlink(cli: Cli, artifactId: string, linkId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const answer = await client.artifacts.revokeDownloadUrl({ artifactId, linkId }, { signal: cli.signal });
  if (answer.link === undefined) throw new Error("the server answered without a link");
  cli.output.show(toJson(DownloadLinkSchema, answer.link), linkText(answer.link));
  return exitCodes.ok;
}

/** `signalbox artifacts access`. */
export async function listAccess(cli: Cli, artifactId = "", options: ListAccessOptions): Promise<ExitCode> {
  const { run: runId = "", outcome = [], limit } = options;
  using client = openClient(cli);
  const filters = { artifactId, runId, outcomes: outcome.map((each) => outcomeOf[each]) };
  const accesses: ArtifactAccess[] = await pages(limit, async (page) => {
    const response = await client.artifacts.listAccess({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.accesses, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, accesses, (access) => toJson(ArtifactAccessSchema, access), accessTable);
  return exitCodes.ok;
}

/** The grantee of a name as people type it: `user:alice`, `ed25519:…`, `0x…`. */
export function granteeOf(name: string): MessageInitShape<typeof GranteeSchema> {
  const key = /^ed25519:(.*)$/.exec(name)?.[1];
  if (key !== undefined) return { who: { case: "ed25519PublicKey", value: key.toLowerCase() } };
  const address = /^(?:ethereum:)?(0x.*)$/.exec(name)?.[1];
  if (address !== undefined) return { who: { case: "ethereumAddress", value: address } };
  return { who: { case: "principal", value: name } };
}

function showGrant({ output }: Cli, shown: ArtifactGrant | undefined): ExitCode {
  if (shown === undefined) throw new Error("the server answered without a grant");
  output.show(toJson(ArtifactGrantSchema, shown), grantText(shown));
  return exitCodes.ok;
}
