import { create } from "@bufbuild/protobuf";
import type { ArtifactCreated } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { type Artifact, ArtifactSchema, ArtifactStatus, LegalHoldSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { EventPayload } from "../eventlog/event-type.ts";
import type { KnownArtifact } from "./state.ts";

/** What happens in the stream of an artifact. */
export type ArtifactPayload = Exclude<
  Extract<EventPayload, { case: `artifact${string}` }>,
  { case: "artifactAccessed" }
>;

/** True for a payload that belongs in the stream of an artifact. */
export function isArtifactPayload(payload: Event["payload"]): payload is ArtifactPayload {
  return /^artifact[A-Z]/.test(payload.case ?? "") && payload.case !== "artifactAccessed";
}

/** The artifact after an event of its stream; undefined until it is created. Pure. */
export function evolveArtifact(artifact: Artifact | undefined, event: Event): Artifact | undefined {
  const { payload, position } = event;
  if (!isArtifactPayload(payload)) return artifact;
  if (payload.case === "artifactCreated") return created(event, payload.value);
  return artifact && { ...changed(artifact, event, payload), position };
}

function created(event: Event, payload: ArtifactCreated): Artifact {
  const { runId, stepId, name, contentType, sizeBytes, sha256, purpose, visibility, encryption, labels } = payload;
  return create(ArtifactSchema, {
    artifactId: event.stream?.id ?? "",
    workspaceId: event.workspaceId,
    roomId: event.roomId,
    runId,
    stepId,
    name,
    contentType,
    sizeBytes,
    sha256,
    purpose,
    visibility,
    encryption,
    status: ArtifactStatus.AVAILABLE,
    labels,
    createTime: event.createTime,
    createBy: payload.createBy,
    expireTime: payload.expireTime,
    runCreateBy: payload.runCreateBy,
    position: event.position,
  });
}

function changed(artifact: Artifact, { createTime, actor }: Event, payload: ArtifactPayload): Artifact {
  switch (payload.case) {
    case "artifactDeleted": {
      const { purgeTime } = payload.value;
      return { ...artifact, status: ArtifactStatus.DELETED, endTime: createTime, endBy: actor, purgeTime };
    }
    case "artifactExpired": {
      const { purgeTime } = payload.value;
      return { ...artifact, status: ArtifactStatus.EXPIRED, endTime: createTime, endBy: undefined, purgeTime };
    }
    case "artifactRestored": {
      const { expireTime } = payload.value;
      const open = { endTime: undefined, endBy: undefined, purgeTime: undefined };
      return { ...artifact, ...open, status: ArtifactStatus.AVAILABLE, expireTime };
    }
    case "artifactPurged": {
      const isEnd = artifact.status === ArtifactStatus.AVAILABLE;
      const end = isEnd ? { endTime: createTime, endBy: actor } : {};
      return { ...artifact, ...end, status: ArtifactStatus.PURGED, purgeTime: createTime };
    }
    case "artifactHeld": {
      const { reason } = payload.value;
      return { ...artifact, hold: create(LegalHoldSchema, { reason, holdBy: actor, holdTime: createTime }) };
    }
    case "artifactHoldReleased":
      return { ...artifact, hold: undefined };
    case "artifactCreated":
    case "artifactGranted":
    case "artifactGrantRevoked":
    case "artifactLinkCreated":
    case "artifactLinkRevoked":
      return artifact;
  }
}

/** Where an artifact is in its life, as decisions name it. Pure. */
export function statusOf({ artifactId, status }: Artifact): KnownArtifact["status"] {
  switch (status) {
    case ArtifactStatus.AVAILABLE:
      return "available";
    case ArtifactStatus.DELETED:
      return "deleted";
    case ArtifactStatus.EXPIRED:
      return "expired";
    case ArtifactStatus.PURGED:
      return "purged";
    case ArtifactStatus.UNSPECIFIED:
    default:
      throw new Error(`artifact ${artifactId} has status ${status}, which this program does not know`);
  }
}
