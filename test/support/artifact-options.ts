import { defaultArtifactLimits } from "../../src/artifacts/limits.ts";
import type { ArtifactOptions } from "../../src/cli/artifacts.ts";

/** Artifacts in the NATS of the installation, without a folder and without a limit on how often they are asked for. */
export function artifactOptions(rootKey: Uint8Array): ArtifactOptions {
  return {
    blobs: { kind: "nats" },
    rootKeys: { dataDir: "", rootKey, rootKeyFile: undefined, rootKeyCommand: undefined, rootKeyOld: undefined },
    env: {},
    limits: defaultArtifactLimits,
    accessesPerMinute: 1_000_000,
    publicUrl: undefined,
  };
}
