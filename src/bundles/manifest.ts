import { z } from "zod";
import type { AddedArtifact, Course } from "./course.ts";
import { bundleFormat, jsonText, type Omission, omissions, type Standing, standings } from "./format.ts";

/** Decimal digits, because JSON's numbers lose some beyond 2^53: as protobuf's JSON has them. */
const uint64 = z.string().regex(/^(0|[1-9]\d{0,19})$/);

const manifestSchema = z.strictObject({
  format: z.literal(bundleFormat),
  workspaceId: z.string(),
  runId: z.string(),
  eventCount: z.int().min(1),
  headPosition: uint64,
  headHash: z.hex().length(64),
  files: z.array(z.strictObject({ path: z.string(), sizeBytes: uint64, sha256: z.hex().length(64) })),
  artifacts: z.array(
    z.strictObject({
      artifactId: z.string(),
      name: z.string(),
      contentType: z.string(),
      sizeBytes: uint64,
      sha256: z.string(),
      status: z.enum(standings),
      path: z.string().optional(),
      omitted: z.enum(omissions).optional(),
    }),
  ),
});

/** What manifest.json says. */
export type Manifest = z.infer<typeof manifestSchema>;

/** A file of a bundle. */
export interface BundledFile {
  readonly path: string;
  readonly sizeBytes: bigint;
  /** In lower-case hex. */
  readonly sha256: string;
}

/** What became of an artifact of the run. */
export interface Fate {
  readonly status: Standing;
  /** Why its bytes are not in the bundle; undefined when they are. */
  readonly omitted: Omission | undefined;
}

/** The manifest of a course, of all files but itself, and of the fate of each of the course's artifacts, in its order. */
export function manifestOf(course: Course, files: readonly BundledFile[], fates: readonly Fate[]): Manifest {
  return {
    format: bundleFormat,
    workspaceId: course.run?.workspaceId ?? "",
    runId: course.run?.runId ?? "",
    eventCount: course.eventCount,
    headPosition: String(course.headPosition),
    headHash: Buffer.from(course.headHash).toString("hex"),
    files: files.map(({ path, sizeBytes, sha256 }) => ({ path, sizeBytes: String(sizeBytes), sha256 })),
    artifacts: course.artifacts.map((artifact, index) => artifactEntry(artifact, fates[index])),
  };
}

function artifactEntry(artifact: AddedArtifact, fate: Fate | undefined): Manifest["artifacts"][number] {
  const { artifactId, name, contentType, sizeBytes, sha256, path } = artifact;
  const { status, omitted } = fate ?? { status: "absent", omitted: "not_recorded" };
  const known = { artifactId, name, contentType, sizeBytes: String(sizeBytes), sha256, status };
  return omitted === undefined ? { ...known, path } : { ...known, omitted };
}

/** The bytes of manifest.json. */
export function manifestText(manifest: Manifest): Uint8Array {
  return jsonText(manifest);
}

/** Reads manifest.json. Throws when it is none. */
export function readManifest(bytes: Uint8Array): Manifest {
  return manifestSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
}
