import { createHash } from "node:crypto";
import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";

/** The bytes that came are not those on record. */
export class ArtifactMismatchError extends Error {
  override readonly name = "ArtifactMismatchError";
}

/** Bytes on their way, held against what is on record of them. */
export interface Check {
  add(piece: Uint8Array): void;
  /** Throws ArtifactMismatchError when what was added is not the artifact. */
  end(artifact: Artifact): void;
}

/** A check of size and SHA-256. */
export function createCheck(): Check {
  const hash = createHash("sha256");
  let size = 0n;
  return {
    add(piece) {
      hash.update(piece);
      size += BigInt(piece.length);
    },
    end({ artifactId, sizeBytes, sha256 }) {
      const found = hash.digest("hex");
      if (size === sizeBytes && found === sha256) return;
      const message = `${size} bytes of ${artifactId} came, with the SHA-256 ${found}; on record are ${sizeBytes}, with ${sha256}`;
      throw new ArtifactMismatchError(message);
    },
  };
}
