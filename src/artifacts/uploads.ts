import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import type {
  ArtifactUpload,
  CreateArtifactRequest,
  CreateUploadRequest,
  FinishUploadRequest,
  UploadChunkRequest,
  UploadHeader,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Logger } from "pino";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { ArtifactAdmission } from "./admission.ts";
import { createChunkedUploads } from "./chunked-uploads.ts";
import { createFinishUpload } from "./finish-upload.ts";
import type { Alarm } from "./contents.ts";
import type { SessionStore } from "./session-store.ts";
import { createSessions } from "./sessions.ts";
import type { ArtifactState } from "./state.ts";
import { createStreamUploads } from "./stream-uploads.ts";
import { createTransfer } from "./transfer.ts";
import type { Usage } from "./usage.ts";

/** An artifact after a command, and where the log stood then. */
export interface ArtifactAnswer {
  readonly artifact: Artifact;
  readonly position: bigint;
}

/** Ways into the store. Errors as artifact_service.proto lists them. */
export interface Uploads {
  /** Stores a small file. */
  create(call: Call, request: CreateArtifactRequest): Promise<ArtifactAnswer>;
  /** Stores a file whose bytes come one after the other. */
  upload(call: Call, header: UploadHeader, bytes: AsyncIterable<Uint8Array>): Promise<ArtifactAnswer>;
  /** Begins an upload in chunks. */
  begin(call: Call, request: CreateUploadRequest): Promise<ArtifactUpload>;
  /** Stores one chunk. */
  chunk(call: Call, request: UploadChunkRequest): Promise<void>;
  /** What has come. */
  get(call: Call, uploadId: string): Promise<ArtifactUpload>;
  /** Makes an artifact of the chunks. */
  finish(call: Call, request: FinishUploadRequest): Promise<ArtifactAnswer>;
}

/** What uploads need. */
export interface UploadsDeps {
  readonly admission: ArtifactAdmission;
  /** An artifact as the leader of the log knows it. STORE_UNAVAILABLE. */
  readonly load: (workspaceId: string, artifactId: string) => Promise<ArtifactState>;
  readonly blobs: Pick<BlobStore, "put" | "read" | "remove">;
  readonly keys: Pick<KeyRing, "issue" | "open" | "seal">;
  readonly sessions: SessionStore;
  readonly usage: Pick<Usage, "leftBytes">;
  readonly alarm: Alarm;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Uploads that record nothing before every byte is durable. What a failed one leaves in the store is left to the sweep of
 * orphans, unless it is certain that no event names it: an answer that was lost is no answer.
 */
export function createUploads(deps: UploadsDeps): Uploads {
  const sessions = createSessions(deps.sessions);
  const transfer = createTransfer({ ...deps, sessions });
  const all = { ...deps, sessions, transfer };
  return { ...createStreamUploads(all), ...createChunkedUploads(all), finish: createFinishUpload(all) };
}
