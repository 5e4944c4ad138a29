import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Artifact,
  type ArtifactGrant,
  type ArtifactPart,
  ArtifactPurpose,
  type DownloadLink,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveGrants, evolveLinks } from "./grants.ts";
import { evolveArtifact, statusOf } from "./resource.ts";

/** A link as the artifact's stream has it. */
export interface RecordedLink {
  readonly link: DownloadLink;
  /** SHA-256 of the token in it. */
  readonly tokenDigest: Uint8Array;
}

/** An artifact that was recorded. */
export interface KnownArtifact {
  readonly status: "available" | "deleted" | "expired" | "purged";
  readonly artifact: Artifact;
  /** Where the bytes are, in order. */
  readonly parts: readonly ArtifactPart[];
  /** All grants, oldest first, revoked ones included. */
  readonly grants: readonly ArtifactGrant[];
  /** All links, oldest first, revoked ones included. */
  readonly links: readonly RecordedLink[];
  /** SHA-256 of the creating request; empty without request_id. */
  readonly requestDigest: Uint8Array;
  /** How much was at stake where it was produced. */
  readonly zone: Zone;
}

/** The artifact as its stream says. */
export type ArtifactState = { readonly status: "absent" } | KnownArtifact;

/** Artifacts as aggregates. */
export const artifactAggregate: AggregateDefinition<ArtifactState> = {
  type: "artifact",
  initial: { status: "absent" },
  evolve: evolveArtifactState,
};

/** The state after one more event. Pure. */
export function evolveArtifactState(state: ArtifactState, event: Event): ArtifactState {
  const { payload } = event;
  const before = state.status === "absent" ? undefined : state;
  const artifact = evolveArtifact(before?.artifact, event);
  if (artifact === undefined) return state;
  const created = payload.case === "artifactCreated" ? payload.value : undefined;
  return {
    status: statusOf(artifact),
    artifact,
    parts: created?.parts ?? before?.parts ?? [],
    grants: evolveGrants(before?.grants ?? [], event),
    links: evolveLinks(before?.links ?? [], event),
    requestDigest: created?.requestDigest ?? before?.requestDigest ?? new Uint8Array(),
    zone: before?.zone ?? event.zone,
  };
}

/**
 * True when the time of an artifact is over, whether that was recorded yet or not. It is never over on legal hold, and the
 * outputs of steps are left to the sweeper, which knows whether their run is open. Pure.
 */
export function isPastTime({ artifact }: KnownArtifact, now: Date): boolean {
  const { expireTime, hold, purpose } = artifact;
  if (hold !== undefined || expireTime === undefined || purpose === ArtifactPurpose.STEP_OUTPUT) return false;
  return timestampMs(expireTime) <= now.getTime();
}

/** True while the bytes of an artifact can be read. Pure. */
export function isAvailable(known: KnownArtifact, now: Date): boolean {
  return known.status === "available" && !isPastTime(known, now);
}
