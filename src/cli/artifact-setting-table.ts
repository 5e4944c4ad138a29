import { z } from "zod";
import { defaultArtifactLimits as defaults } from "../artifacts/limits.ts";
import type { Setting } from "./setting-table.ts";

const dayMs = 24 * 60 * 60_000;
const tebibyte = 1024 ** 4;

/** Every setting of how much of artifacts is kept, and for how long, by its name in the program. */
export const artifactSettingTable = {
  maxArtifactBytes: {
    variable: "SIGNALBOX_MAX_ARTIFACT_BYTES",
    schema: whole(1, tebibyte),
    fallback: String(defaults.maxArtifactBytes),
    allowed: "bytes from 1 to 1099511627776",
    example: "1073741824",
    description: "the largest artifact",
  },
  maxRunArtifacts: {
    variable: "SIGNALBOX_MAX_RUN_ARTIFACTS",
    schema: whole(1, 10_000),
    fallback: String(defaults.maxRunArtifacts),
    allowed: "a number from 1 to 10000",
    example: "200",
    description: "the artifacts of one run at most; outputs of steps do not count",
  },
  maxRunArtifactBytes: {
    variable: "SIGNALBOX_MAX_RUN_ARTIFACT_BYTES",
    schema: whole(1, tebibyte),
    fallback: String(defaults.maxRunBytes),
    allowed: "bytes from 1 to 1099511627776",
    example: "10737418240",
    description: "all artifacts of one run together",
  },
  maxWorkspaceArtifactBytes: {
    variable: "SIGNALBOX_MAX_WORKSPACE_ARTIFACT_BYTES",
    schema: whole(1, 1_024 * tebibyte),
    fallback: String(defaults.maxWorkspaceBytes),
    allowed: "bytes from 1 to 1125899906842624",
    example: "1099511627776",
    description: "all artifacts of one workspace together, until they are purged",
  },
  artifactRetentionMs: {
    variable: "SIGNALBOX_ARTIFACT_RETENTION_MS",
    schema: whole(1_000, 3_650 * dayMs),
    fallback: String(defaults.retentionMs),
    allowed: "milliseconds from 1000 to 315360000000",
    example: "2592000000",
    description: "how long the bytes of artifacts are kept, at most and by default",
  },
  artifactGraceMs: {
    variable: "SIGNALBOX_ARTIFACT_GRACE_MS",
    schema: whole(0, 365 * dayMs),
    fallback: String(defaults.graceMs),
    allowed: "milliseconds from 0 to 31536000000",
    example: "604800000",
    description: "how long a deleted or expired artifact can be restored",
  },
} as const satisfies Record<string, Setting>;

function whole(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,16}$/)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum);
}
