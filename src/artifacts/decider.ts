import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ArtifactCreated,
  ArtifactDeletedSchema,
  ArtifactExpiredSchema,
  ArtifactHeldSchema,
  ArtifactHoldReleasedSchema,
  ArtifactPurgedSchema,
  ArtifactRestoredSchema,
} from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { DeleteArtifactRequest, SetLegalHoldRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { EventPayload } from "../eventlog/event-type.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { type ArtifactState, isPastTime, type KnownArtifact } from "./state.ts";

/** An artifact that is to be on record, and where. */
export interface NewArtifact {
  readonly artifactId: string;
  readonly artifact: ArtifactCreated;
  readonly zone: Zone;
}

/** artifact.created; nothing when the same request made it of the same bytes. REQUEST_ID_REUSED when it is another one. */
export function createArtifact(state: ArtifactState, { artifactId, artifact, zone }: NewArtifact): Draft | undefined {
  if (state.status === "absent") {
    return { payload: { case: "artifactCreated", value: artifact }, zone, ...actor(artifact.createBy) };
  }
  requireSameRequest(state, artifactId, artifact.requestDigest);
  if (state.artifact.sha256 !== artifact.sha256) throw otherBytes(artifactId);
  return undefined;
}

/** REQUEST_ID_REUSED when the artifact was made by another request than this one. */
export function requireSameRequest(known: KnownArtifact, artifactId: string, requestDigest: Uint8Array): void {
  if (equalBytes(known.requestDigest, requestDigest)) return;
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `the request_id has created ${artifactId} with another spec; use a new request_id`,
    { artifact_id: artifactId },
  );
}

/** REQUEST_ID_REUSED: the same request came with other bytes before. */
export function otherBytes(artifactId: string): SignalboxError {
  return new SignalboxError(
    "REQUEST_ID_REUSED",
    `the request_id has created ${artifactId} with other bytes; use a new request_id`,
    { artifact_id: artifactId },
  );
}

/**
 * artifact.deleted, or artifact.purged when it is for ever; nothing when it is gone already. ARTIFACT_NOT_FOUND, INVALID_STATE
 * when it is on legal hold.
 */
export function deleteArtifact(
  state: ArtifactState,
  { artifactId, reason, permanent }: DeleteArtifactRequest,
  now: Date,
  graceMs: number,
): Draft | undefined {
  const known = requireArtifact(state, artifactId);
  if (known.status === "purged" || (known.status !== "available" && !permanent)) return undefined;
  if (known.artifact.hold !== undefined) {
    throw new SignalboxError("INVALID_STATE", `artifact ${artifactId} is on legal hold; take the hold off first`, {
      status: known.status,
    });
  }
  if (permanent) return draft(known, { case: "artifactPurged", value: create(ArtifactPurgedSchema, { reason }) });
  const purgeTime = timestampFromMs(now.getTime() + graceMs);
  return draft(known, { case: "artifactDeleted", value: create(ArtifactDeletedSchema, { reason, purgeTime }) });
}

/**
 * artifact.restored; nothing when its bytes can be read. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED when it is too late.
 */
export function restoreArtifact(
  state: ArtifactState,
  { artifactId, reason }: { readonly artifactId: string; readonly reason: string },
  now: Date,
  retentionMs: number,
): Draft | undefined {
  const known = requireArtifact(state, artifactId);
  if (known.status === "available" && !isPastTime(known, now)) return undefined;
  if (known.status === "purged" || isPurgeDue(known, now)) throw artifactExpired(known);
  const expireTime = timestampFromMs(now.getTime() + retentionMs);
  return draft(known, { case: "artifactRestored", value: create(ArtifactRestoredSchema, { reason, expireTime }) });
}

/** artifact.held or artifact.hold_released; nothing when it is so already. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED. */
export function setLegalHold(
  state: ArtifactState,
  { artifactId, held, reason }: SetLegalHoldRequest,
  now: Date,
): Draft | undefined {
  const known = requireArtifact(state, artifactId);
  if (known.status === "purged" || isPurgeDue(known, now)) throw artifactExpired(known);
  if (held === (known.artifact.hold !== undefined)) return undefined;
  return held
    ? draft(known, { case: "artifactHeld", value: create(ArtifactHeldSchema, { reason }) })
    : draft(known, { case: "artifactHoldReleased", value: create(ArtifactHoldReleasedSchema, { reason }) });
}

/** artifact.expired when its time is over; nothing before that, or when it is held or gone. */
export function expireArtifact(state: ArtifactState, now: Date, graceMs: number): Draft | undefined {
  if (state.status !== "available" || state.artifact.hold !== undefined) return undefined;
  if (!isOver(state.artifact.expireTime, now)) return undefined;
  const purgeTime = timestampFromMs(now.getTime() + graceMs);
  return draft(state, { case: "artifactExpired", value: create(ArtifactExpiredSchema, { purgeTime }) });
}

/** artifact.purged when nobody can restore it any more; nothing before that, or when it is held. */
export function purgeArtifact(state: ArtifactState, now: Date): Draft | undefined {
  if (state.status === "absent" || !isPurgeDue(state, now)) return undefined;
  return draft(state, { case: "artifactPurged", value: create(ArtifactPurgedSchema) });
}

/** The artifact; ARTIFACT_NOT_FOUND when there is none. */
export function requireArtifact(state: ArtifactState, artifactId: string): KnownArtifact {
  if (state.status === "absent") throw artifactNotFound(artifactId);
  return state;
}

/** Unknown ids and ids of another tenant look the same. */
export function artifactNotFound(artifactId: string): SignalboxError {
  return new SignalboxError("ARTIFACT_NOT_FOUND", `artifact ${artifactId} does not exist in this workspace`);
}

/** ARTIFACT_EXPIRED, with how that came. */
export function artifactExpired({ status, artifact }: KnownArtifact): SignalboxError {
  const { artifactId } = artifact;
  const gone = status === "available" ? "expired" : status;
  const wayOut =
    gone === "purged" ? "its bytes are gone for ever" : "until its purge_time RestoreArtifact takes it back";
  return new SignalboxError("ARTIFACT_EXPIRED", `artifact ${artifactId} is ${gone}; ${wayOut}`, { status: gone });
}

/** True when it was deleted or has expired, and its grace time is over. A legal hold gives it more time. */
function isPurgeDue({ status, artifact }: KnownArtifact, now: Date): boolean {
  if ((status !== "deleted" && status !== "expired") || artifact.hold !== undefined) return false;
  return isOver(artifact.purgeTime, now);
}

function isOver(time: Artifact["expireTime"], now: Date): boolean {
  return time !== undefined && timestampMs(time) <= now.getTime();
}

function draft({ zone }: KnownArtifact, payload: EventPayload): Draft {
  return { payload, zone };
}

function actor(createBy: Principal | undefined): Pick<Draft, "actor"> {
  return createBy === undefined ? {} : { actor: createBy };
}
