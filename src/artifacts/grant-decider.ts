import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { ArtifactGrantedSchema, ArtifactGrantRevokedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { ArtifactGrant, Grantee } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { granteeName } from "../access/grantee.ts";
import { holds, isOwner } from "../access/rights.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { artifactExpired, artifactNotFound } from "./decider.ts";
import { maxGrants } from "./grant-room.ts";
import { type ArtifactState, isAvailable, type KnownArtifact } from "./state.ts";

/** A grant as somebody asks for it. */
export interface NewGrant {
  readonly artifactId: string;
  /** The id that it gets when it is a new one. */
  readonly grantId: string;
  /** As requireGrantee answers it. */
  readonly grantee: Grantee;
  /** Undefined for as long as the artifact is there. */
  readonly expireTime: Timestamp | undefined;
}

/**
 * artifact.granted; nothing when the same grant holds already. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED unless
 * an owner asks, INVALID_REQUEST for a time that has passed, QUOTA_EXCEEDED.
 */
export function grantAccess(state: ArtifactState, wanted: NewGrant, caller: Principal, now: Date): Draft | undefined {
  const { artifactId, grantId, grantee, expireTime } = wanted;
  const known = requireOwner(state, artifactId, caller, "grant access to");
  if (!isAvailable(known, now)) throw artifactExpired(known);
  if (expireTime !== undefined && timestampMs(expireTime) <= now.getTime()) {
    throw new SignalboxError("INVALID_REQUEST", "expire_time: has passed; name a time to come, or none", {
      field: "expire_time",
    });
  }
  if (sameGrant(known, wanted, now) !== undefined) return undefined;
  if (known.grants.filter((grant) => holds(grant, now)).length >= maxGrants) throw tooMany("grants", artifactId);
  const value = create(ArtifactGrantedSchema, { grantId, grantee, expireTime });
  return { payload: { case: "artifactGranted", value }, zone: known.zone };
}

/** artifact.grant_revoked; nothing when it was. ARTIFACT_NOT_FOUND, GRANT_NOT_FOUND, PERMISSION_DENIED unless an owner asks. */
export function revokeAccess(
  state: ArtifactState,
  { artifactId, grantId }: Pick<NewGrant, "artifactId" | "grantId">,
  caller: Principal,
): Draft | undefined {
  const known = requireOwner(state, artifactId, caller, "revoke access to");
  const grant = known.grants.find((each) => each.grantId === grantId);
  if (grant === undefined) throw grantNotFound("grant", grantId, artifactId);
  if (grant.revokeTime !== undefined) return undefined;
  const value = create(ArtifactGrantRevokedSchema, { grantId });
  return { payload: { case: "artifactGrantRevoked", value }, zone: known.zone };
}

/** The grant that holds for the same grantee until the same time; undefined for none. Pure. */
export function sameGrant(
  { grants }: KnownArtifact,
  { grantee, expireTime }: Pick<NewGrant, "grantee" | "expireTime">,
  now: Date,
): ArtifactGrant | undefined {
  const untilMs = expireTime && timestampMs(expireTime);
  return grants.find(
    (grant) =>
      granteeName(grant.grantee) === granteeName(grantee) &&
      (grant.expireTime && timestampMs(grant.expireTime)) === untilMs &&
      holds(grant, now),
  );
}

/** The artifact, when its owner asks. ARTIFACT_NOT_FOUND, PERMISSION_DENIED. Pure. */
function requireOwner(state: ArtifactState, artifactId: string, caller: Principal, what: string): KnownArtifact {
  if (state.status === "absent") throw artifactNotFound(artifactId);
  if (isOwner(state.artifact, caller)) return state;
  throw new SignalboxError(
    "PERMISSION_DENIED",
    `only its creator and who created its run may ${what} artifact ${artifactId}`,
    { artifact_id: artifactId },
  );
}

/** GRANT_NOT_FOUND. Pure. */
export function grantNotFound(what: "grant" | "link", id: string, artifactId: string): SignalboxError {
  return new SignalboxError("GRANT_NOT_FOUND", `artifact ${artifactId} has no ${what} ${id}`);
}

/** QUOTA_EXCEEDED. Pure. */
export function tooMany(what: "grants" | "links", artifactId: string): SignalboxError {
  const message = `artifact ${artifactId} has ${maxGrants} ${what} that hold; revoke some, or let them expire`;
  return new SignalboxError("QUOTA_EXCEEDED", message, { limit: String(maxGrants) });
}
