import { toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Artifact, ArtifactStatus } from "../../../gen/signalbox/v1/artifact_pb.ts";
import { type RunArtifactAdded, RunArtifactAddedSchema } from "../../../gen/signalbox/v1/run_event_pb.ts";
import { evolveArtifact } from "../../../src/artifacts/resource.ts";
import type { Db } from "../../../src/readmodel/postgres.ts";
import type { LogEvent } from "../../support/invariants.ts";

/** The tables of artifacts in memory, as far as sweeps and limits ask for them. */
export interface Tables {
  /** Answers the statements of src/artifacts/queries.ts by their names. */
  readonly db: Db;
  /** Takes everything up to the end of the log; until then they show what was there before. */
  catchUp(): void;
}

interface Row<T> {
  readonly workspaceId: string;
  readonly artifactId: string;
  readonly value: T;
}

/** Tables over a log. */
export function createTables(events: () => readonly LogEvent[]): Tables {
  const artifacts = new Map<string, Row<Artifact>>();
  const pending = new Map<string, Row<RunArtifactAdded | undefined>>();
  let position = 0;

  function take({ event }: LogEvent): void {
    const { workspaceId, payload, stream } = event;
    if (payload.case === "runArtifactAdded") {
      const { artifactId } = payload.value;
      pending.set(`${workspaceId}/${artifactId}`, { workspaceId, artifactId, value: payload.value });
    }
    if (stream?.type !== "artifact") return;
    const artifactId = stream.id;
    const key = `${workspaceId}/${artifactId}`;
    const value = evolveArtifact(artifacts.get(key)?.value, event);
    if (value !== undefined) artifacts.set(key, { workspaceId, artifactId, value });
    const isCopy = payload.case === "artifactCreated" && payload.value.runId !== "";
    if (isCopy) pending.set(key, { workspaceId, artifactId, value: undefined });
  }

  function due(status: readonly ArtifactStatus[], time: "expireTime" | "purgeTime", by: unknown) {
    const isDue = ({ value }: Row<Artifact>) => {
      const at = value[time];
      return status.includes(value.status) && !value.hold && at !== undefined && timestampMs(at) <= Number(by);
    };
    return [...artifacts.values()].filter(isDue).map(keysOf);
  }

  function total(workspaceId: unknown) {
    const own = [...artifacts.values()].filter((row) => row.workspaceId === workspaceId);
    const kept = own.filter(({ value }) => value.status !== ArtifactStatus.PURGED);
    const sizeBytes = kept.reduce((sum, { value }) => sum + value.sizeBytes, 0n);
    return [{ artifact_count: BigInt(kept.length), size_bytes: sizeBytes, held_count: 0n, position: BigInt(position) }];
  }

  const statements: Readonly<Record<string, (values: readonly unknown[]) => object[]>> = {
    artifacts_total: ([workspaceId]) => total(workspaceId),
    artifacts_expiring: ([by]) => due([ArtifactStatus.AVAILABLE], "expireTime", by),
    artifacts_going: ([by]) => due([ArtifactStatus.DELETED, ArtifactStatus.EXPIRED], "purgeTime", by),
    artifacts_pending: () =>
      [...pending].flatMap(([key, { workspaceId, value }]) =>
        value && !artifacts.has(key)
          ? [{ workspace_id: workspaceId, resource: toBinary(RunArtifactAddedSchema, value) }]
          : [],
      ),
    artifacts_reusing: () => [],
    artifacts_in_run: ([workspaceId, artifactId]) => (pending.has([workspaceId, artifactId].join("/")) ? [{}] : []),
  };

  return {
    db: {
      query: async ({ name, values = [] }) => {
        const rows = statements[name]?.(values);
        if (rows === undefined) throw new Error(`no table answers ${name}`);
        return { rows, rowCount: rows.length, command: "SELECT", oid: 0, fields: [] } as never;
      },
    },
    catchUp() {
      const log = events();
      for (const entry of log.slice(position)) take(entry);
      position = log.length;
    },
  };
}

function keysOf({ workspaceId, artifactId }: Row<unknown>) {
  return { workspace_id: workspaceId, artifact_id: artifactId };
}
