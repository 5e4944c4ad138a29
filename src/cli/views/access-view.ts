import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  AccessMethodSchema,
  AccessOutcomeSchema,
  type ArtifactAccess,
  type ArtifactGrant,
  type DownloadLink,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import { granteeName } from "../../access/grantee.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { table } from "./table.ts";
import { principalText, shorten, timeText } from "./values.ts";

/** Who may read an artifact: grants, then links, one line each. */
export function sharingTable(grants: readonly ArtifactGrant[], links: readonly DownloadLink[]): string {
  const rows = [
    ...grants.map((grant) => [grant.grantId, granteeName(grant.grantee), ...lifeOf(grant)]),
    ...links.map((link) => [link.linkId, "whoever has the link", ...lifeOf(link)]),
  ];
  return table(["GRANT", "TO", "STATE", "CREATED", "BY"], rows);
}

/** One grant, for people. */
export function grantText(grant: ArtifactGrant): string {
  return `${grant.grantId}  ${granteeName(grant.grantee)}  ${stateText(grant)}`;
}

/** One link without its URL, for people. */
export function linkText(link: DownloadLink): string {
  return `${link.linkId}  ${stateText(link)}`;
}

/** The access log, one line each. */
export function accessTable(accesses: readonly ArtifactAccess[]): string {
  return table(
    ["TIME", "ARTIFACT", "WAY", "OUTCOME", "WHO", "AS", "DETAIL"],
    accesses.map((access) => [
      timeText(access.createTime),
      access.artifactId,
      enumName(AccessMethodSchema, access.method),
      enumName(AccessOutcomeSchema, access.outcome),
      [principalText(access.principal), access.remoteAddress].filter((text) => text !== "").join(" from "),
      shorten(access.grantee, 40),
      detailText(access),
    ]),
  );
}

interface Life {
  readonly createTime?: Timestamp | undefined;
  readonly createBy?: ArtifactGrant["createBy"];
  readonly expireTime?: Timestamp | undefined;
  readonly revokeTime?: Timestamp | undefined;
}

function lifeOf(life: Life): string[] {
  return [stateText(life), timeText(life.createTime), principalText(life.createBy)];
}

/** What was recorded; whether the time is over now, the server says when it is used. */
function stateText({ expireTime, revokeTime }: Life): string {
  if (revokeTime !== undefined) return `revoked ${timeText(revokeTime)}`;
  return expireTime === undefined ? "good" : `good until ${timeText(expireTime)}`;
}

function detailText({ detail, offset, repeatedCount }: ArtifactAccess): string {
  const parts = [
    shorten(detail, 100),
    offset === 0n ? "" : `from byte ${offset}`,
    repeatedCount === 0n ? "" : `and ${repeatedCount} more`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}
