import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { randomBytes } from "node:crypto";
import type { ArtifactSpec } from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  type ArtifactUpload,
  ArtifactUploadSchema,
  type CreateUploadRequest,
  type UploadChunkRequest,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { accessIdentity } from "../access/rights.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { equalBytes, sha256 } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { principalName } from "../kernel/principal.ts";
import type { Admitted, ArtifactAdmission } from "./admission.ts";
import { chunkCount, chunkLength, chunkSizeBytes } from "./chunk-plan.ts";
import { putSealed } from "./sealed-parts.ts";
import { sessionTtlMs } from "./session-store.ts";
import type { Sessions, StoredPart, UploadSession } from "./sessions.ts";
import type { KnownArtifact } from "./state.ts";
import { requireSpec } from "./stream-uploads.ts";
import { requireSha256 } from "./transfer.ts";
import type { Uploads } from "./uploads.ts";
import type { Usage } from "./usage.ts";

/** What uploads in chunks need. */
export interface ChunkedUploadsDeps {
  readonly admission: Pick<ArtifactAdmission, "admit">;
  readonly blobs: Pick<BlobStore, "put" | "remove">;
  readonly keys: Pick<KeyRing, "issue">;
  readonly sessions: Sessions;
  readonly usage: Pick<Usage, "leftBytes">;
  readonly clock: Clock;
}

/** Uploads of a workspace that may be under way at the same time. */
const maxOpen = 10_000;
/** How often beginning an upload may be overtaken by another server before it gives up. */
const maxTries = 5;

/** Uploads whose chunks come in any order, more than once and over any server. */
export function createChunkedUploads(deps: ChunkedUploadsDeps): Pick<Uploads, "begin" | "chunk" | "get"> {
  const { admission, blobs, keys, sessions, usage, clock } = deps;

  /** What is under way is on disk and on no record: it takes room of the workspace as if it were. QUOTA_EXCEEDED. */
  async function requireRoom({ workspaceId }: Call, sizeBytes: number): Promise<void> {
    const [open, leftBytes] = await Promise.all([sessions.open(workspaceId), usage.leftBytes(workspaceId)]);
    if (open.count < maxOpen && open.sizeBytes + sizeBytes <= leftBytes) return;
    const message = `${open.count} uploads of ${open.sizeBytes} bytes are under way, the workspace has ${leftBytes} bytes left; finish them first, or wait until they are given up`;
    throw new SignalboxError("QUOTA_EXCEEDED", message, { size: String(sizeBytes), left: String(leftBytes) });
  }

  /** The upload as it was begun by whoever came first. CONTENTION, REQUEST_ID_REUSED. */
  async function beginOnce(call: Call, admitted: Admitted, requestId: string): Promise<UploadSession> {
    const { workspaceId } = call;
    for (let i = 0; i < maxTries; i++) {
      const before = await sessions.find(workspaceId, admitted.artifactId);
      const wanted = sessionOf(call, admitted, requestId, clock.now(), before);
      if (wanted === before) return wanted;
      if (before === undefined) await requireRoom(call, wanted.sizeBytes);
      if (await sessions.put(wanted, before)) return wanted;
    }
    throw new SignalboxError("CONTENTION", "others begin the same upload at the same time; try again");
  }

  async function storePart(call: Call, session: UploadSession, index: number, data: Uint8Array, hash: string) {
    const { workspaceId, uploadId, spec } = session;
    const { key } = await keys.issue(workspaceId, uploadId, spec.recipient || undefined);
    const owner = { workspaceId, artifactId: uploadId };
    const blob = await putSealed(blobs, owner, key, [data], call.signal);
    const kept = await sessions.putPart(session, index, { blob, sizeBytes: data.length, sha256: hash });
    if (kept.blob !== blob) await blobs.remove(blob);
    return kept;
  }

  return {
    async begin(call, request) {
      const spec = requireAnnounced(request);
      const admitted = await admission.admit(call, spec, request.requestId);
      if (admitted.existing !== undefined) return finishedUpload(admitted.existing);
      const session = await beginOnce(call, admitted, request.requestId);
      return uploadOf(session, await sessions.parts(session, chunkCount(session.sizeBytes)));
    },
    async chunk(call, request) {
      const session = await requireSession(sessions, call, request.uploadId, clock.now());
      requireFitting(session, request);
      const { index, data } = request;
      const hash = Buffer.from(sha256(data)).toString("hex");
      requireSha256(hash, request.sha256);
      const part = (await sessions.part(session, index)) ?? (await storePart(call, session, index, data, hash));
      if (part.sha256 !== hash) throw otherChunk(index);
    },
    async get(call, uploadId) {
      const session = await requireSession(sessions, call, uploadId, clock.now());
      return uploadOf(session, await sessions.parts(session, chunkCount(session.sizeBytes)));
    },
  };
}

/** The caller's upload under way; somebody else's is as good as none. UPLOAD_NOT_FOUND. */
export async function requireSession(
  sessions: Pick<Sessions, "find">,
  call: Call,
  uploadId: string,
  now: Date,
): Promise<UploadSession> {
  const session = await sessions.find(call.workspaceId, uploadId);
  if (session !== undefined && session.expireTime > now && session.beginBy === nameOf(call)) return session;
  const message = `no upload ${uploadId} is under way: it was finished, or 24 hours are over; begin one with CreateUpload`;
  throw new SignalboxError("UPLOAD_NOT_FOUND", message);
}

/** What is to be remembered of an upload: `before` itself when that says it all. REQUEST_ID_REUSED. */
function sessionOf(
  call: Call,
  { artifactId, spec, requestDigest }: Admitted,
  requestId: string,
  now: Date,
  before: UploadSession | undefined,
): UploadSession {
  if (before === undefined || before.expireTime <= now) {
    return {
      workspaceId: call.workspaceId,
      uploadId: artifactId,
      nonce: randomBytes(8).toString("hex"),
      requestId,
      beginBy: nameOf(call),
      requestDigest,
      spec,
      sizeBytes: Number(spec.sizeBytes),
      expireTime: new Date(now.getTime() + sessionTtlMs),
    };
  }
  const isTheirs = before.beginBy === nameOf(call);
  // Of a run's upload, whoever has its lease now was asked for that already.
  if (!equalBytes(before.requestDigest, requestDigest) || (!isTheirs && spec.leaseToken === "")) {
    const message = `request_id has begun another upload before, ${artifactId}; use another one`;
    throw new SignalboxError("REQUEST_ID_REUSED", message, { artifact_id: artifactId });
  }
  // The next lease of the run goes on with what the one before has begun.
  return isTheirs && before.spec.leaseToken === spec.leaseToken ? before : { ...before, spec, beginBy: nameOf(call) };
}

/** As whom the caller owns what comes of it. */
function nameOf({ principal }: Call): string {
  return principalName(accessIdentity(principal));
}

function requireAnnounced(request: CreateUploadRequest): ArtifactSpec {
  const spec = requireSpec(request.spec);
  if (spec.sizeBytes !== undefined) return spec;
  const message = "spec.size_bytes is missing: an upload in chunks has to say how large the file is";
  throw new SignalboxError("INVALID_REQUEST", message);
}

function requireFitting({ sizeBytes }: UploadSession, { index, data }: UploadChunkRequest): void {
  const count = chunkCount(sizeBytes);
  if (index >= count) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      `index is ${index}, but a file of ${sizeBytes} bytes has ${count} chunks`,
    );
  }
  const length = chunkLength(sizeBytes, index);
  if (data.length === length) return;
  throw new SignalboxError("INVALID_REQUEST", `chunk ${index} has ${length} bytes, data has ${data.length}`);
}

function otherChunk(index: number): SignalboxError {
  const message = `other bytes came for chunk ${index} before; begin another upload for another file`;
  return new SignalboxError("INVALID_STATE", message);
}

function uploadOf(session: UploadSession, parts: readonly (StoredPart | undefined)[]): ArtifactUpload {
  return create(ArtifactUploadSchema, {
    uploadId: session.uploadId,
    sizeBytes: BigInt(session.sizeBytes),
    chunkSizeBytes,
    chunkCount: parts.length,
    receivedChunks: [...parts.keys()].filter((index) => parts[index] !== undefined),
    expireTime: timestampFromDate(session.expireTime),
  });
}

/** What a repeat of CreateUpload is told when the file is there already: nothing is missing. */
function finishedUpload({ artifact }: KnownArtifact): ArtifactUpload {
  const count = chunkCount(Number(artifact.sizeBytes));
  return create(ArtifactUploadSchema, {
    uploadId: artifact.artifactId,
    sizeBytes: artifact.sizeBytes,
    chunkSizeBytes,
    chunkCount: count,
    receivedChunks: Array.from({ length: count }, (_, index) => index),
  });
}
