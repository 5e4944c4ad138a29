import type { Logger } from "pino";
import type { FinishUploadRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { releasing } from "../kernel/release.ts";
import type { ArtifactAdmission } from "./admission.ts";
import { chunkCount, indexRanges } from "./chunk-plan.ts";
import { requireSession } from "./chunked-uploads.ts";
import type { Alarm } from "./contents.ts";
import { untilAborted } from "../blobs/pieces.ts";
import { measure } from "./meter.ts";
import { PartBrokenError, readParts } from "./sealed-parts.ts";
import type { Sessions, StoredPart, UploadSession } from "./sessions.ts";
import type { ArtifactState } from "./state.ts";
import { answerOf, requireSha256, type Transfer, type Transferred } from "./transfer.ts";
import type { ArtifactAnswer, Uploads } from "./uploads.ts";

/** What finishing needs. */
export interface FinishUploadDeps {
  readonly admission: Pick<ArtifactAdmission, "admit">;
  /** An artifact as the leader of the log knows it. STORE_UNAVAILABLE. */
  readonly load: (workspaceId: string, artifactId: string) => Promise<ArtifactState>;
  readonly blobs: Pick<BlobStore, "read">;
  readonly sessions: Sessions;
  readonly transfer: Transfer;
  readonly alarm: Alarm;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Makes artifacts of chunks. However many finish the same upload, one artifact comes of it and all get it. */
export function createFinishUpload(deps: FinishUploadDeps): Uploads["finish"] {
  const { admission, load, blobs, sessions, transfer, alarm, clock, log } = deps;

  async function findFinished(call: Call, request: FinishUploadRequest): Promise<ArtifactAnswer | undefined> {
    const known = await load(call.workspaceId, request.uploadId);
    if (known.status === "absent") return undefined;
    requireSha256(known.artifact.sha256, request.sha256);
    return answerOf(known);
  }

  /** Reads what is durable once more: SHA-256 of the whole does not follow from those of the chunks. */
  async function lookThrough(call: Call, session: UploadSession): Promise<Transferred> {
    const { uploadId, spec, sizeBytes, nonce } = session;
    const parts = requireAll(await sessions.parts(session, chunkCount(sizeBytes)));
    const { key, whole } = await transfer.begin(call, { artifactId: uploadId, spec, nonce });
    if (whole !== undefined) return { whole, key };
    const bytes = releasing(readParts(blobs, key, parts, { from: 0, to: sizeBytes }, call.signal));
    const { sha256 } = await measure(untilAborted(bytes, call.signal), {
      maxBytes: sizeBytes,
      exceeded: () => new Error("the chunks have more bytes than the upload"),
    }).catch((error: unknown) => sendAgain(session, parts, error));
    return { whole: { parts, sizeBytes, sha256 }, key };
  }

  /** A chunk that is damaged in the store is forgotten, so that its sender can mend it. */
  async function sendAgain(session: UploadSession, parts: readonly StoredPart[], error: unknown): Promise<never> {
    const part = error instanceof PartBrokenError ? parts[error.index] : undefined;
    if (!(error instanceof PartBrokenError) || part === undefined) throw error;
    const { workspaceId, uploadId } = session;
    alarm({ workspaceId, artifactId: uploadId, runId: "", detail: error.message });
    await sessions.dropPart(session, error.index, part);
    throw missingChunks([error.index]);
  }

  async function finish(call: Call, { uploadId, sha256 }: FinishUploadRequest): Promise<ArtifactAnswer> {
    const session = await requireSession(sessions, call, uploadId, clock.now());
    const admitted = await admission.admit(call, session.spec, session.requestId, uploadId);
    if (admitted.existing !== undefined) {
      requireSha256(admitted.existing.artifact.sha256, sha256);
      return answerOf(admitted.existing);
    }
    const transferred = await lookThrough(call, session);
    requireSha256(transferred.whole.sha256, session.spec.sha256);
    requireSha256(transferred.whole.sha256, sha256);
    const answer = await transfer.record(call, admitted, session.nonce, transferred);
    await sessions.end(session, chunkCount(session.sizeBytes)).catch((error: unknown) => {
      log.warn({ err: error, uploadId }, "a finished upload is left to be forgotten in its time");
    });
    return answer;
  }

  return async (call, request) => {
    try {
      return await finish(call, request);
    } catch (error) {
      // Whoever else finished it meanwhile has taken away what this one worked with.
      const answer = await findFinished(call, request);
      if (answer === undefined) throw error;
      return answer;
    }
  };
}

function requireAll(parts: readonly (StoredPart | undefined)[]): StoredPart[] {
  const present = parts.filter((part) => part !== undefined);
  if (present.length === parts.length) return present;
  throw missingChunks([...parts.keys()].filter((index) => parts[index] === undefined));
}

function missingChunks(indexes: readonly number[]): SignalboxError {
  const ranges = indexRanges(indexes);
  return new SignalboxError("INVALID_STATE", `chunks are missing: ${ranges}; send them, then finish again`, {
    missing_chunks: ranges,
  });
}
