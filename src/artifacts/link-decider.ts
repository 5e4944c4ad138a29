import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ArtifactLinkCreatedSchema, ArtifactLinkRevokedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { accessIdentity, holds, isOwner } from "../access/rights.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { principalName } from "../kernel/principal.ts";
import { artifactExpired, artifactNotFound } from "./decider.ts";
import { grantNotFound, tooMany } from "./grant-decider.ts";
import { maxGrants } from "./grant-room.ts";
import { type ArtifactState, isAvailable, type RecordedLink } from "./state.ts";

/** A link to be recorded. That its maker may read the artifact was found before. */
export interface NewLink {
  readonly artifactId: string;
  readonly linkId: string;
  /** SHA-256 of its token. */
  readonly tokenDigest: Uint8Array;
  readonly expiresInMs: number;
}

/** artifact.link_created. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, INVALID_STATE when only its recipient can read it, QUOTA_EXCEEDED. */
export function createLink(state: ArtifactState, wanted: NewLink, now: Date): Draft {
  const { artifactId, linkId, tokenDigest, expiresInMs } = wanted;
  if (state.status === "absent") throw artifactNotFound(artifactId);
  if (!isAvailable(state, now)) throw artifactExpired(state);
  if ((state.artifact.encryption?.recipient ?? "") !== "") throw sealed(artifactId);
  if (state.links.filter(({ link }) => holds(link, now)).length >= maxGrants) throw tooMany("links", artifactId);
  const expireTime = timestampFromDate(new Date(now.getTime() + expiresInMs));
  const value = create(ArtifactLinkCreatedSchema, { linkId, tokenDigest, expireTime });
  return { payload: { case: "artifactLinkCreated", value }, zone: state.zone };
}

/**
 * artifact.link_revoked; nothing when it was. ARTIFACT_NOT_FOUND, GRANT_NOT_FOUND, PERMISSION_DENIED unless its maker or an owner
 * of the artifact asks.
 */
export function revokeLink(
  state: ArtifactState,
  { artifactId, linkId }: Pick<NewLink, "artifactId" | "linkId">,
  caller: Principal,
): Draft | undefined {
  if (state.status === "absent") throw artifactNotFound(artifactId);
  const recorded = state.links.find((each) => each.link.linkId === linkId);
  if (recorded === undefined) throw grantNotFound("link", linkId, artifactId);
  if (!isMaker(recorded, caller) && !isOwner(state.artifact, caller)) {
    throw new SignalboxError("PERMISSION_DENIED", "only who made the link and the artifact's owner may revoke it", {
      artifact_id: artifactId,
    });
  }
  if (recorded.link.revokeTime !== undefined) return undefined;
  const value = create(ArtifactLinkRevokedSchema, { linkId });
  return { payload: { case: "artifactLinkRevoked", value }, zone: state.zone };
}

function isMaker({ link }: RecordedLink, caller: Principal): boolean {
  if (link.createBy === undefined) return false;
  return principalName(accessIdentity(link.createBy)) === principalName(accessIdentity(caller));
}

function sealed(artifactId: string): SignalboxError {
  const message = `artifact ${artifactId} is sealed to a recipient: a link could not open it; use DownloadArtifact with sealed`;
  return new SignalboxError("INVALID_STATE", message, { artifact_id: artifactId });
}
