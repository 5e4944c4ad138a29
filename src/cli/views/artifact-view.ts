import {
  type Artifact,
  ArtifactPurpose,
  ArtifactStatus,
  ArtifactStatusSchema,
  ArtifactVisibility,
  type ArtifactSummary,
  type LegalHold,
} from "../../../gen/signalbox/v1/artifact_pb.ts";
import type { GetStorageUsageResponse } from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { spanText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { labelsText, principalText, shorten, sizeText, timeText } from "./values.ts";

/** Artifacts below each other, one line each. */
export function artifactTable(artifacts: readonly Artifact[]): string {
  return table(
    ["ARTIFACT", "NAME", "SIZE", "STATUS", "CREATED", "EXPIRES", "RUN"],
    artifacts.map((artifact) => [
      artifact.artifactId,
      shorten(artifact.name, 60),
      sizeText(artifact.sizeBytes),
      enumName(ArtifactStatusSchema, artifact.status),
      timeText(artifact.createTime),
      artifact.hold === undefined ? timeText(artifact.expireTime) : "held",
      artifact.runId,
    ]),
  );
}

/** Everything that people want to know about an artifact. */
export function artifactView(artifact: Artifact): string {
  return fields([
    ["artifact", artifact.artifactId],
    ["name", artifact.name],
    ["status", statusText(artifact)],
    ["type", artifact.contentType],
    ["size", `${sizeText(artifact.sizeBytes)} (${artifact.sizeBytes})`],
    ["sha256", artifact.sha256],
    ["run", artifact.runId],
    ["step", artifact.stepId],
    ["room", artifact.roomId],
    ["for", artifact.purpose === ArtifactPurpose.STEP_OUTPUT ? "the output of a step" : ""],
    ["readable", readableText(artifact)],
    ["sealed to", artifact.encryption?.recipient ?? ""],
    ["labels", labelsText(artifact.labels)],
    ["created", `${timeText(artifact.createTime)} by ${principalText(artifact.createBy)}`],
    ["expires", timeText(artifact.expireTime)],
    ["held", holdText(artifact.hold)],
    ["position", String(artifact.position)],
  ]);
}

/** What a run has produced: `2 files, 3.4 MB`; empty for nothing. */
export function filesText(summary: ArtifactSummary | undefined): string {
  if (summary === undefined || summary.count === 0) return "";
  return `${summary.count} ${summary.count === 1 ? "file" : "files"}, ${sizeText(summary.totalSizeBytes)}`;
}

/** How much a workspace keeps, and how much it may. */
export function usageView({ usage, limits }: GetStorageUsageResponse): string {
  const of = (bytes: bigint | undefined) => sizeText(bytes ?? 0n);
  const count = usage?.artifactCount ?? 0n;
  const artifacts = `${count} ${count === 1n ? "artifact" : "artifacts"}`;
  return fields([
    ["stored", `${of(usage?.sizeBytes)} of ${of(limits?.maxWorkspaceBytes)}, in ${artifacts}`],
    ["held", usage === undefined || usage.heldCount === 0n ? "" : `${usage.heldCount} on legal hold`],
    ["one artifact", `up to ${of(limits?.maxArtifactBytes)}`],
    ["one run", `up to ${limits?.maxRunArtifacts ?? 0} files, ${of(limits?.maxRunBytes)}`],
    ["kept for", limits?.retention === undefined ? "" : spanText(limits.retention)],
    ["restorable for", limits?.grace === undefined ? "" : spanText(limits.grace)],
  ]);
}

function statusText({ status, endTime, endBy, purgeTime }: Artifact): string {
  const since = endTime === undefined ? "" : ` since ${timeText(endTime)}`;
  const by = endBy === undefined ? "" : ` by ${principalText(endBy)}`;
  const isRestorable = status === ArtifactStatus.DELETED || status === ArtifactStatus.EXPIRED;
  const until = isRestorable ? `, can be restored until ${timeText(purgeTime)}` : "";
  return `${enumName(ArtifactStatusSchema, status)}${since}${by}${until}`;
}

function readableText({ visibility, createBy, runCreateBy }: Artifact): string {
  if (visibility === ArtifactVisibility.WORKSPACE) return "by everybody in the workspace";
  const owners = new Set([createBy, runCreateBy].map((owner) => principalText(owner)).filter((name) => name !== ""));
  return `by ${[...owners].join(", ")} and who was granted access`;
}

function holdText(hold: LegalHold | undefined): string {
  if (hold === undefined) return "";
  return `${shorten(hold.reason, 200)}, since ${timeText(hold.holdTime)} by ${principalText(hold.holdBy)}`;
}
