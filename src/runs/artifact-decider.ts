import { create } from "@bufbuild/protobuf";
import type { ArtifactCreated } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import { RunArtifactAddedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { hasEnded, isOpen, runNotFound } from "./decider.ts";
import { requireLease } from "./lease-decider.ts";
import type { LiveRun, RunState } from "./state.ts";
import { requireQuota } from "./step-decider.ts";

/** How much a run may have. */
export interface RunArtifactLimits {
  /** Files; outputs of steps do not count. */
  readonly maxRunArtifacts: number;
  /** All its artifacts together. */
  readonly maxRunBytes: number;
}

/** An artifact whose bytes are durable. */
export interface NewArtifact {
  readonly artifactId: string;
  /** The lease that it was produced under; empty when somebody else than the worker adds it. */
  readonly leaseId: string;
  readonly artifact: ArtifactCreated;
}

/**
 * run.artifact_added; nothing when the run has an artifact of this id. RUN_NOT_FOUND, LEASE_LOST, QUOTA_EXCEEDED, INVALID_STATE
 * when the run has ended.
 */
export function addArtifact(
  state: RunState,
  { artifactId, leaseId, artifact }: NewArtifact,
  limits: RunArtifactLimits,
): Draft | undefined {
  const live = requireOpenRun(state, { runId: artifact.runId, leaseId });
  if (live.artifacts.byId.has(artifactId)) return undefined;
  requireArtifactRoom(live, artifact.purpose, Number(artifact.sizeBytes), limits);
  const value = create(RunArtifactAddedSchema, { artifactId, leaseId, artifact });
  return { payload: { case: "runArtifactAdded", value }, zone: live.run.zone };
}

/** The run, under this lease if there is one, else as long as it can still change. LEASE_LOST, INVALID_STATE, RUN_NOT_FOUND. */
export function requireOpenRun(state: RunState, { runId, leaseId }: { runId: string; leaseId: string }): LiveRun {
  if (leaseId !== "") return requireLease(state, { runId, leaseId });
  if (state.status === "absent") throw runNotFound(runId);
  if (!isOpen(state)) throw hasEnded(state, "takes no more artifacts; add it without run_id");
  return state;
}

/** QUOTA_EXCEEDED when the run can not have one more artifact of this purpose and size. */
export function requireArtifactRoom(
  { run, artifacts }: LiveRun,
  purpose: ArtifactPurpose,
  sizeBytes: number,
  { maxRunArtifacts, maxRunBytes }: RunArtifactLimits,
): void {
  const { fileCount, totalBytes, byId } = artifacts;
  if (purpose === ArtifactPurpose.STEP_OUTPUT) {
    requireQuota("outputs of steps", byId.size - fileCount);
  } else if (fileCount >= maxRunArtifacts) {
    throw new SignalboxError(
      "QUOTA_EXCEEDED",
      `run ${run.runId} has ${fileCount} artifacts, the limit is ${maxRunArtifacts}; put several files into one`,
      { limit: String(maxRunArtifacts) },
    );
  }
  if (totalBytes + BigInt(sizeBytes) <= BigInt(maxRunBytes)) return;
  throw new SignalboxError(
    "QUOTA_EXCEEDED",
    `run ${run.runId} has artifacts of ${totalBytes} bytes, with ${sizeBytes} more it is beyond its limit of ${maxRunBytes}; keep it without run_id`,
    { limit: String(maxRunBytes), size: String(totalBytes + BigInt(sizeBytes)) },
  );
}
