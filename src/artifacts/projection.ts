import { create } from "@bufbuild/protobuf";
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { ArtifactSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type RunArtifactAdded, RunArtifactAddedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { StepSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveArtifact, isArtifactPayload } from "./resource.ts";

const artifacts = eraseProjection({
  table: "artifacts",
  idColumn: "artifact_id",
  schema: ArtifactSchema,
  columns: [
    { name: "room_id", type: "text", value: (artifact) => artifact.roomId },
    { name: "run_id", type: "text", value: (artifact) => artifact.runId },
    { name: "status", type: "smallint", value: (artifact) => artifact.status },
    { name: "purpose", type: "smallint", value: (artifact) => artifact.purpose },
    { name: "name", type: "text", value: (artifact) => artifact.name },
    { name: "size_bytes", type: "bigint", value: (artifact) => artifact.sizeBytes },
    { name: "held", type: "boolean", value: (artifact) => String(artifact.hold !== undefined) },
    { name: "expire_time", type: "timestamptz", value: (artifact) => date(artifact.expireTime) },
    { name: "purge_time", type: "timestamptz", value: (artifact) => date(artifact.purgeTime) },
  ],
  idsOf: ({ stream, payload }) => (isArtifactPayload(payload) && stream ? [stream.id] : []),
  evolve: evolveArtifact,
});

const runArtifacts = eraseProjection({
  table: "run_artifacts",
  idColumn: "artifact_id",
  schema: RunArtifactAddedSchema,
  columns: [{ name: "pending", type: "boolean", value: ({ artifact }) => String(artifact !== undefined) }],
  idsOf: runArtifactIds,
  evolve: evolveRunArtifact,
  // The run says it first.
  precedesStream: true,
});

const reusedOutputs = eraseProjection({
  table: "reused_outputs",
  idColumn: "step_id",
  schema: StepSchema,
  columns: [
    { name: "artifact_id", type: "text", value: (step) => step.outputArtifactId },
    { name: "run_id", type: "text", value: (step) => step.runId },
  ],
  idsOf: ({ payload }) =>
    payload.case === "stepReused" && payload.value.outputArtifactId !== "" ? [payload.value.stepId] : [],
  evolve(step, { payload, stream }) {
    if (payload.case !== "stepReused") return step;
    const { stepId, outputArtifactId } = payload.value;
    return create(StepSchema, { stepId, runId: stream?.id ?? "", outputArtifactId });
  },
});

/** The tables of this noun. */
export const artifactProjections: readonly AnyProjection[] = [artifacts, runArtifacts, reusedOutputs];

function runArtifactIds({ stream, payload }: Event): string[] {
  if (payload.case === "runArtifactAdded") return [payload.value.artifactId];
  return payload.case === "artifactCreated" && payload.value.runId !== "" && stream ? [stream.id] : [];
}

/** What a run has added, until the artifact's own stream says it. */
function evolveRunArtifact(added: RunArtifactAdded | undefined, { payload }: Event): RunArtifactAdded | undefined {
  if (payload.case === "runArtifactAdded") return payload.value;
  return added && { ...added, artifact: undefined };
}

function date(time: Timestamp | undefined): Date | null {
  return time ? timestampDate(time) : null;
}
