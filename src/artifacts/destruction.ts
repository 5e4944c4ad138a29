import type { BlobStore } from "../blobs/blob-store.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { KnownArtifact } from "./state.ts";

/** What destroys. */
export interface DestructionDeps {
  readonly blobs: Pick<BlobStore, "remove">;
  readonly keys: Pick<KeyRing, "destroy">;
}

/**
 * Destroys the key of a purged artifact, and with it the bytes wherever there are copies of them, then the bytes themselves.
 * Again is fine: whoever dies on the way is followed by somebody who does it again.
 */
export async function destroyArtifact({ blobs, keys }: DestructionDeps, known: KnownArtifact): Promise<void> {
  const { artifactId, workspaceId } = known.artifact;
  if (known.status !== "purged") throw new Error(`artifact ${artifactId} is ${known.status}, not purged`);
  await keys.destroy(workspaceId, artifactId);
  for (const { blob } of known.parts) await blobs.remove(blob);
}
