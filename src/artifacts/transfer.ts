import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { ArtifactEncryptionSchema, ArtifactPartSchema, type ArtifactSpec } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { Call } from "../kernel/call.ts";
import { equalBytes } from "../kernel/digest.ts";
import { hasReason, SignalboxError } from "../kernel/errors.ts";
import { sealingScheme } from "../sealing/format.ts";
import type { Admitted, ArtifactAdmission } from "./admission.ts";
import type { MeterRules } from "./meter.ts";
import type { Sessions, StoredWhole } from "./sessions.ts";
import type { KnownArtifact } from "./state.ts";
import type { ArtifactAnswer } from "./uploads.ts";

/** What keys and records of uploads need. */
export interface TransferDeps {
  readonly admission: Pick<ArtifactAdmission, "admit" | "record">;
  readonly blobs: Pick<BlobStore, "remove">;
  readonly keys: Pick<KeyRing, "issue" | "open" | "seal">;
  readonly sessions: Pick<Sessions, "putWhole" | "whole">;
  readonly log: Logger;
}

/** An artifact that is being uploaded. */
export interface Uploading {
  readonly artifactId: string;
  readonly spec: Pick<ArtifactSpec, "recipient">;
  /** That of its session; empty without one. */
  readonly nonce: string;
}

/** What to go on from: a key for the bytes, or what is known of them already when the key was given away. */
export type Begun =
  | { readonly key: Uint8Array; readonly whole?: undefined }
  | { readonly key?: undefined; readonly whole: StoredWhole };

/** Bytes that are durable, and what they are sealed with; without a key when it was given away. */
export interface Transferred {
  readonly whole: StoredWhole;
  readonly key: Uint8Array | undefined;
}

/** The first and the last step of every upload. */
export interface Transfer {
  /** Issues the key. An earlier try may have given it away to a recipient, and died before it recorded anything. */
  begin(call: Call, uploading: Uploading): Promise<Begun>;
  /**
   * Records an artifact whose bytes are durable. Those of its blobs that turn out to be nobody's are removed. CONTENTION when
   * its key is not there any more, and what admission throws.
   */
  record(call: Call, admitted: Admitted, nonce: string, transferred: Transferred): Promise<ArtifactAnswer>;
}

/** What the log says of an artifact that will not be. */
const refusals = ["QUOTA_EXCEEDED", "INVALID_STATE", "LEASE_LOST"] as const;

/** Issues keys, and records what was transferred. */
export function createTransfer({ admission, blobs, keys, sessions, log }: TransferDeps): Transfer {
  /** What the artifact is made of once its key is given away: what was settled first, because nobody can look again. */
  async function settle(call: Call, { artifactId, spec }: Admitted, nonce: string, { whole, key }: Transferred) {
    if (spec.recipient === "") return whole;
    const settled = key === undefined ? whole : await sessions.putWhole(call.workspaceId, artifactId, nonce, whole);
    if (settled.sha256 !== whole.sha256) throw otherBytes(artifactId);
    // Also when an earlier try has done so: that tells the sweep of orphans that somebody needs it.
    await keys.seal(call.workspaceId, artifactId);
    return settled;
  }

  /** What is said of the key. No event names bytes that nobody can open: it is looked up once more. */
  async function encryptionOf({ workspaceId }: Call, { artifactId, spec }: Admitted, key: Uint8Array | undefined) {
    const { recipient } = spec;
    const found = await keys.open(workspaceId, artifactId);
    if (found.state === "sealed" && recipient !== "") {
      return create(ArtifactEncryptionSchema, { scheme: sealingScheme, recipient });
    }
    if (found.state === "open" && key !== undefined && equalBytes(found.key, key)) {
      return create(ArtifactEncryptionSchema, { scheme: sealingScheme, keyId: found.keyId });
    }
    const message = `the key of ${artifactId} was destroyed while it was uploaded; upload it again`;
    throw new SignalboxError("CONTENTION", message, { artifact_id: artifactId });
  }

  async function settleAndRecord(call: Call, admitted: Admitted, nonce: string, transferred: Transferred) {
    const { parts, sizeBytes, sha256 } = await settle(call, admitted, nonce, transferred);
    const encryption = await encryptionOf(call, admitted, transferred.key);
    const stored = parts.map((part) =>
      create(ArtifactPartSchema, { blob: part.blob, sizeBytes: BigInt(part.sizeBytes) }),
    );
    return admission.record(call, admitted, { parts: stored, sizeBytes, sha256, encryption });
  }

  /**
   * True when nobody will ever name the bytes of an upload in one piece: left to the sweep, those of as many as anybody likes
   * would fill the disk for a day. What was decided on the log's newest event is no answer that was lost, unless the one before
   * it is this artifact's. The chunks of an upload may be finished another time, and so may what is settled for a recipient.
   */
  async function isRefused(call: Call, { artifactId, spec }: Admitted, nonce: string, error: unknown) {
    if (nonce !== "" || spec.recipient !== "" || !hasReason(error, ...refusals)) return false;
    try {
      return (await admission.admit(call, spec, "", artifactId)).existing === undefined;
    } catch (again) {
      return hasReason(again, ...refusals);
    }
  }

  async function removeAllBut(kept: ReadonlySet<string>, { parts }: StoredWhole): Promise<void> {
    try {
      for (const { blob } of parts) if (!kept.has(blob)) await blobs.remove(blob);
    } catch (error) {
      log.warn({ err: error }, "blobs that nobody needs are left to the sweep");
    }
  }

  return {
    async begin({ workspaceId }, { artifactId, spec, nonce }) {
      try {
        return { key: (await keys.issue(workspaceId, artifactId, spec.recipient || undefined)).key };
      } catch (error) {
        // Before a key is given away, what it seals is written down.
        const isAway = spec.recipient !== "" && hasReason(error, "INVALID_STATE");
        const whole = isAway ? await sessions.whole(workspaceId, artifactId, nonce) : undefined;
        if (whole === undefined) throw error;
        return { whole };
      }
    },
    async record(call, admitted, nonce, transferred) {
      try {
        const { artifact, position, parts } = await settleAndRecord(call, admitted, nonce, transferred);
        await removeAllBut(new Set(parts.map(({ blob }) => blob)), transferred.whole);
        return { artifact, position };
      } catch (error) {
        // After any other error these bytes may be on record all the same.
        const isOver = hasReason(error, "REQUEST_ID_REUSED") || (await isRefused(call, admitted, nonce, error));
        if (isOver) await removeAllBut(new Set(), transferred.whole);
        throw error;
      }
    },
  };
}

/** The rules for the bytes of a new artifact: its limits, and what its creator said of them. CHECKSUM_MISMATCH, and what the limit means. */
export function newBytesRules(admitted: Admitted): MeterRules {
  const { spec, maxBytes } = admitted;
  const announced = spec.sizeBytes === undefined ? Infinity : Number(spec.sizeBytes);
  return {
    maxBytes: Math.min(maxBytes, announced),
    exceeded: (actualBytes) =>
      actualBytes > announced
        ? checksumMismatch(`there are more than the ${announced} bytes of size_bytes`)
        : admitted.limitError(actualBytes),
    verify({ sizeBytes, sha256 }) {
      if (announced !== Infinity && sizeBytes < announced) {
        throw checksumMismatch(`there are ${sizeBytes} bytes, but size_bytes is ${announced}`);
      }
      requireSha256(sha256, spec.sha256);
    },
  };
}

/** The rules for bytes that were stored by an earlier request, and came again. REQUEST_ID_REUSED. */
export function sameBytesRules(artifactId: string, sizeBytes: number, sha256: string): MeterRules {
  return {
    maxBytes: sizeBytes,
    exceeded: () => otherBytes(artifactId),
    verify(measured) {
      if (measured.sha256 !== sha256) throw otherBytes(artifactId);
    },
  };
}

/** Throws CHECKSUM_MISMATCH when the bytes do not have the SHA-256 that is wanted; empty wants none. */
export function requireSha256(actual: string, wanted: string): void {
  if (wanted === "" || actual === wanted) return;
  throw checksumMismatch(`the SHA-256 of the bytes is ${actual}, but sha256 is ${wanted}`);
}

/** What a repeat is answered. */
export function answerOf({ artifact }: KnownArtifact): ArtifactAnswer {
  return { artifact, position: artifact.position };
}

function checksumMismatch(problem: string): SignalboxError {
  return new SignalboxError("CHECKSUM_MISMATCH", `${problem}; nothing was stored, send the file again`);
}

function otherBytes(artifactId: string): SignalboxError {
  const message = `this request has stored other bytes before, as ${artifactId}; use another request_id for other bytes`;
  return new SignalboxError("REQUEST_ID_REUSED", message, { artifact_id: artifactId });
}
