import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { PersistentMap } from "../kernel/persistent-map.ts";

/** An artifact of a run without what its event says of it: `position` leads there. */
export interface ArtifactHead {
  readonly purpose: ArtifactPurpose;
  readonly position: bigint;
}

/** What a run has produced. */
export interface RunArtifacts {
  readonly byId: PersistentMap<ArtifactHead>;
  /** Files; outputs of steps do not count. */
  readonly fileCount: number;
  /** The size of all of them, purged ones included. */
  readonly totalBytes: bigint;
}

/** Before anything was produced. */
export const noArtifacts: RunArtifacts = { byId: new PersistentMap(), fileCount: 0, totalBytes: 0n };

/** The artifacts after one more event. Pure. */
export function evolveArtifacts(artifacts: RunArtifacts, { payload, position }: Event): RunArtifacts {
  if (payload.case !== "runArtifactAdded") return artifacts;
  const { artifactId, artifact } = payload.value;
  const purpose = artifact?.purpose ?? ArtifactPurpose.FILE;
  return {
    byId: artifacts.byId.with(artifactId, { purpose, position }),
    fileCount: artifacts.fileCount + (purpose === ArtifactPurpose.STEP_OUTPUT ? 0 : 1),
    totalBytes: artifacts.totalBytes + (artifact?.sizeBytes ?? 0n),
  };
}
