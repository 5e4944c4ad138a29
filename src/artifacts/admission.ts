import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type ArtifactCreated, ArtifactCreatedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import {
  type ArtifactEncryption,
  type ArtifactPart,
  ArtifactPurpose,
  type ArtifactSpec,
  ArtifactSpecSchema,
  ArtifactVisibility,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId, type IdSource } from "../kernel/ids.ts";
import type { RunPlace, RunSide } from "../runs/commands.ts";
import type { Copies } from "./copies.ts";
import { otherBytes, requireArtifact, requireSameRequest } from "./decider.ts";
import type { ArtifactLimits } from "./limits.ts";
import { cleanName } from "./name.ts";
import { retentionOf } from "./retention.ts";
import type { ArtifactState, KnownArtifact } from "./state.ts";
import type { ArtifactAnswer } from "./uploads.ts";
import type { Usage } from "./usage.ts";

/** What an artifact will be: settled before its first byte is read. */
export interface Admitted {
  readonly artifactId: string;
  /** The spec as it was given. */
  readonly spec: ArtifactSpec;
  /**
   * The artifact that the same request has made before: nothing is to be stored, but other bytes than its own (size_bytes,
   * sha256) are REQUEST_ID_REUSED. Undefined for a new one.
   */
  readonly existing: KnownArtifact | undefined;
  /** SHA-256 of the request, lease_token and bytes left out; empty without request_id. */
  readonly requestDigest: Uint8Array;
  /** The run that it belongs to; undefined for none. */
  readonly place: RunPlace | undefined;
  /** Empty for none. */
  readonly runId: string;
  /** Empty for none. */
  readonly roomId: string;
  /** Empty for none. */
  readonly stepId: string;
  /** The lease that it is produced under; empty for none. */
  readonly leaseId: string;
  readonly createBy: Principal;
  /** When its bytes can not be read any more. */
  readonly expireTime: Date;
  /** How many bytes it may have: the least of all limits. */
  readonly maxBytes: number;
  /** What more than maxBytes means, for an artifact of at least so many bytes: PAYLOAD_TOO_LARGE or QUOTA_EXCEEDED. */
  limitError(actualBytes: number): SignalboxError;
}

/** An artifact's bytes when all of them are durable. */
export interface StoredBytes {
  /** Where they are, in order. */
  readonly parts: readonly ArtifactPart[];
  /** Unsealed. */
  readonly sizeBytes: number;
  /** Of all of them, unsealed, in lower-case hex. */
  readonly sha256: string;
  readonly encryption: ArtifactEncryption;
}

/** An artifact on record. */
export interface Recorded extends ArtifactAnswer {
  /** Where its bytes are. Those that were given to `record` and are not among them are nobody's: remove them. */
  readonly parts: readonly ArtifactPart[];
}

/** What stands before and behind the transfer of an artifact's bytes. */
export interface ArtifactAdmission {
  /**
   * Looks up everything that could speak against it before the first byte, its announced size included. `artifactId` is given
   * when the id was settled by an earlier call, for the same request. RUN_NOT_FOUND, INVALID_STATE, LEASE_LOST, STEP_NOT_FOUND,
   * PAYLOAD_TOO_LARGE, QUOTA_EXCEEDED, REQUEST_ID_REUSED, INVALID_REQUEST.
   */
  admit(call: Call, spec: ArtifactSpec, requestId: string, artifactId?: string): Promise<Admitted>;
  /**
   * Records an artifact whose bytes are durable and whose key is issued: in the run, if it has one, then in its own stream.
   * Again with the same bytes it answers the first one, with other bytes REQUEST_ID_REUSED. LEASE_LOST, INVALID_STATE,
   * QUOTA_EXCEEDED.
   */
  record(call: Call, admitted: Admitted, stored: StoredBytes): Promise<Recorded>;
}

/** What admission needs. */
export interface AdmissionDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly copies: Copies;
  readonly runs: RunSide;
  readonly usage: Usage;
  readonly limits: ArtifactLimits;
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** Admission to a log. */
export function createAdmission(deps: AdmissionDeps): ArtifactAdmission {
  const { aggregates, copies, runs, usage, limits, clock, ids } = deps;

  /** The artifact that a repeatable request has made, in its own stream or only in that of its run so far. */
  async function findExisting(call: Call, runId: string, artifactId: string): Promise<KnownArtifact | undefined> {
    const { state } = await aggregates.load(call.workspaceId, artifactId);
    if (state.status !== "absent") return state;
    const added = runId === "" ? undefined : await runs.find(call.workspaceId, runId, artifactId);
    return added && requireArtifact((await copies.ofRun(call, added)).state, artifactId);
  }

  /** What the limits leave of a new artifact; throws when its announced size is more. */
  async function boundsOf({ workspaceId }: Call, { sizeBytes = 0n }: ArtifactSpec, place: RunPlace | undefined) {
    const leftBytes = await usage.leftBytes(workspaceId);
    const bounds = bounded(limits, { leftBytes, ...(place && { runLeftBytes: place.leftBytes }) });
    if (sizeBytes > BigInt(bounds.maxBytes)) throw bounds.limitError(Number(sizeBytes));
    return bounds;
  }

  return {
    async admit(call, spec, requestId, settledId) {
      const { workspaceId } = call;
      const runId = runs.runIdOf(workspaceId, spec);
      const isRepeatable = requestId !== "";
      // Whoever has the run next repeats what the one before has begun.
      const digest = isRepeatable
        ? requestDigest(ArtifactSpecSchema, { ...spec, runId, leaseToken: "" })
        : new Uint8Array();
      // The run is part of it, so that the run's own stream decides between two calls with one request_id.
      const ownId = isRepeatable ? derivedId("art", workspaceId, "artifact", runId, requestId) : ids.next("art");
      const artifactId = settledId ?? ownId;
      const mayExist = isRepeatable || settledId !== undefined;
      const existing = mayExist ? await findExisting(call, runId, artifactId) : undefined;
      const expireTime = new Date(clock.now().getTime() + retentionOf(spec.retention, limits.retentionMs));
      const common = { artifactId, spec, requestDigest: digest, runId, stepId: spec.stepId };
      if (existing !== undefined) {
        requireSameRequest(existing, artifactId, digest);
        return { ...common, ...repeated(existing, call.principal, expireTime), ...bounded(limits, {}) };
      }
      const place = await runs.place(call, spec);
      const leaseId = place?.ticket?.leaseId ?? "";
      const createBy = place?.addBy ?? call.principal;
      const bounds = await boundsOf(call, spec, place);
      return { ...common, existing, place, roomId: roomOf(spec, place), leaseId, createBy, expireTime, ...bounds };
    },
    async record(call, admitted, stored) {
      const { artifactId, place, existing } = admitted;
      if (existing === undefined) {
        using reserved = await usage.reserve(call.workspaceId, stored.sizeBytes);
        const artifact = createdOf(admitted, stored);
        const added = place && (await runs.add(call, place, artifactId, artifact));
        const { state, position } = added
          ? await copies.ofRun(call, added)
          : await copies.alone(call, { artifactId, artifact, roomId: admitted.roomId });
        const known = requireArtifact(state, artifactId);
        reserved.settle(known.artifact.position);
        return answer(known, position, admitted, stored);
      }
      const { state, position } = await aggregates.load(call.workspaceId, artifactId);
      return answer(requireArtifact(state, artifactId), position, admitted, stored);
    },
  };
}

function repeated(existing: KnownArtifact, caller: Principal, otherwise: Date) {
  const { roomId, createBy = caller, expireTime } = existing.artifact;
  const time = expireTime === undefined ? otherwise : timestampDate(expireTime);
  return { existing, place: undefined, roomId, leaseId: "", createBy, expireTime: time };
}

/** The least of all limits, and the one that it is. */
function bounded(
  { maxArtifactBytes, maxRunBytes, maxWorkspaceBytes }: ArtifactLimits,
  { leftBytes = Infinity, runLeftBytes = Infinity }: { leftBytes?: number; runLeftBytes?: number },
): Pick<Admitted, "maxBytes" | "limitError"> {
  const maxBytes = Math.max(0, Math.min(maxArtifactBytes, leftBytes, runLeftBytes));
  return {
    maxBytes,
    limitError(actualBytes) {
      const size = String(actualBytes);
      if (maxBytes === maxArtifactBytes) {
        const message = `the artifact has ${size} bytes or more, the limit is ${maxArtifactBytes}; split it`;
        return new SignalboxError("PAYLOAD_TOO_LARGE", message, { limit: String(maxArtifactBytes), size });
      }
      const [whose, limit] =
        maxBytes === runLeftBytes ? ["its run", maxRunBytes] : ["its workspace", maxWorkspaceBytes];
      const message = `the artifact has ${size} bytes or more, ${whose} has ${maxBytes} left of ${limit}; delete something or split it`;
      return new SignalboxError("QUOTA_EXCEEDED", message, { limit: String(limit), left: String(maxBytes), size });
    },
  };
}

/** An artifact of a run is in the run's room. */
function roomOf({ roomId }: ArtifactSpec, place: RunPlace | undefined): string {
  if (place === undefined || roomId === "" || roomId === place.roomId) return place?.roomId ?? roomId;
  throw new SignalboxError("INVALID_REQUEST", "an artifact of a run is in the run's room; leave room_id out");
}

function createdOf(admitted: Admitted, { parts, sizeBytes, sha256, encryption }: StoredBytes): ArtifactCreated {
  const { spec, runId, stepId, createBy, place, expireTime } = admitted;
  return create(ArtifactCreatedSchema, {
    runId,
    stepId,
    name: cleanName(spec.name),
    contentType: spec.contentType || "application/octet-stream",
    sizeBytes: BigInt(sizeBytes),
    sha256,
    purpose: spec.purpose || ArtifactPurpose.FILE,
    visibility: spec.visibility || ArtifactVisibility.RESTRICTED,
    encryption,
    labels: spec.labels,
    expireTime: timestampFromDate(expireTime),
    parts: [...parts],
    createBy,
    runCreateBy: place?.runCreateBy,
    requestDigest: admitted.requestDigest,
  });
}

function answer(known: KnownArtifact, position: bigint, admitted: Admitted, stored: StoredBytes): Recorded {
  const { artifactId } = admitted;
  requireSameRequest(known, artifactId, admitted.requestDigest);
  if (known.artifact.sha256 !== stored.sha256) throw otherBytes(artifactId);
  return { artifact: known.artifact, position, parts: known.parts };
}
