import type { CallOptions } from "@connectrpc/connect";
import { ArtifactMismatchError } from "../client/artifact-check.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { downloadArtifact } from "../client/download-artifact.ts";
import { HandlerError } from "./handler-error.ts";

/**
 * All bytes of an artifact, held against what is on record of them. Throws what the call throws, and a HandlerError ARTIFACT_CORRUPT,
 * retryable, for other bytes: it was the way here that damaged them.
 */
export async function downloadBytes(
  artifacts: SignalboxClient["artifacts"],
  artifactId: string,
  { signal }: Pick<CallOptions, "signal"> = {},
): Promise<Uint8Array> {
  try {
    return Buffer.concat(await Array.fromAsync(downloadArtifact({ artifacts }, artifactId, { signal })));
  } catch (cause) {
    if (!(cause instanceof ArtifactMismatchError)) throw cause;
    throw new HandlerError("ARTIFACT_CORRUPT", cause.message, { cause });
  }
}
