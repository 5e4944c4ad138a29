import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Artifact, ArtifactPurpose, ArtifactStatus } from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  type DeleteArtifactRequest,
  type GetStorageUsageRequest,
  type ListArtifactsRequest,
  type RestoreArtifactRequest,
  type SetLegalHoldRequest,
  type StorageLimits,
  StorageLimitsSchema,
  type StorageUsage,
  StorageUsageSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Aggregates, Draft } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { RunSide } from "../runs/commands.ts";
import { deleteArtifact, requireArtifact, restoreArtifact, setLegalHold } from "./decider.ts";
import { destroyArtifact, type DestructionDeps } from "./destruction.ts";
import type { ArtifactLimits } from "./limits.ts";
import { listArtifacts, reusingRun, storedTotal } from "./queries.ts";
import { retentionOf } from "./retention.ts";
import type { ArtifactState, KnownArtifact } from "./state.ts";
import type { ArtifactAnswer } from "./uploads.ts";

/** What is on record of artifacts, and how long their bytes are kept; every call sees its own workspace only. */
export interface Artifacts {
  /** The artifact as it is now. ARTIFACT_NOT_FOUND. */
  get(call: Call, artifactId: string): Promise<Artifact>;
  /** A page of artifacts, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListArtifactsRequest): Promise<{ artifacts: Artifact[]; nextPageToken: string }>;
  /** Takes it away; twice is fine. ARTIFACT_NOT_FOUND, PERMISSION_DENIED, INVALID_STATE. */
  delete(call: Call, request: DeleteArtifactRequest): Promise<ArtifactAnswer>;
  /** Takes it back. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED, INVALID_REQUEST. */
  restore(call: Call, request: RestoreArtifactRequest): Promise<ArtifactAnswer>;
  /** Puts a legal hold on it, or takes it off. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED. */
  setLegalHold(call: Call, request: SetLegalHoldRequest): Promise<ArtifactAnswer>;
  /** How much the workspace keeps, and how much it may. READ_MODEL_BEHIND. */
  usage(call: Call, request: GetStorageUsageRequest): Promise<{ usage: StorageUsage; limits: StorageLimits }>;
}

/** What artifacts need. */
export interface ArtifactsDeps extends DestructionDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly runs: Pick<RunSide, "isOpen">;
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly limits: ArtifactLimits;
  /** True for whom it belongs to. */
  readonly isOwner: (artifact: Artifact, caller: Principal) => boolean;
}

/** The artifacts on a log and its read models. */
export function createArtifacts(deps: ArtifactsDeps): Artifacts {
  const { aggregates, runs, db, positions, limits, isOwner } = deps;

  async function command(
    call: Call,
    id: string,
    decide: (state: ArtifactState, now: Date) => Draft | undefined,
  ): Promise<ArtifactAnswer & { readonly known: KnownArtifact }> {
    const { state, position } = await aggregates.execute({ call, id, decide });
    const known = requireArtifact(state, id);
    return { known, artifact: known.artifact, position };
  }

  function requireOwner(state: ArtifactState, artifactId: string, { principal }: Call): void {
    if (isOwner(requireArtifact(state, artifactId).artifact, principal)) return;
    throw new SignalboxError(
      "PERMISSION_DENIED",
      `artifact ${artifactId} belongs to who created it and to who created its run; only they may do this`,
    );
  }

  /** INVALID_STATE for the output of a step that an open run needs to go on: without it, that run would fail. */
  async function requireUnneeded({ workspaceId }: Call, { artifactId, purpose, runId }: Artifact): Promise<void> {
    if (purpose !== ArtifactPurpose.STEP_OUTPUT) return;
    const user = (await runs.isOpen(workspaceId, runId)) ? runId : await reusingRun(db, workspaceId, artifactId);
    if (user === undefined) return;
    throw new SignalboxError(
      "INVALID_STATE",
      `artifact ${artifactId} is the output of a step of ${user}, which is open; wait for its end, or cancel it first`,
      { run_id: user },
    );
  }

  return {
    async get({ workspaceId }, artifactId) {
      const { state } = await aggregates.load(workspaceId, artifactId);
      return requireArtifact(state, artifactId).artifact;
    },
    async list({ workspaceId, signal }, request) {
      const { runId, roomId, statuses, purposes, name, pageSize, pageToken, minPosition } = request;
      const filters = [workspaceId, runId, roomId, statuses, purposes, name];
      const page = readPage("artifacts", filters, pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const query = { workspaceId, runId, roomId, statuses, purposes, name, page };
      const { items, nextPageToken } = await listArtifacts(db, query);
      return { artifacts: items, nextPageToken };
    },
    async delete(call, request) {
      const { artifactId } = request;
      const { state: before } = await aggregates.load(call.workspaceId, artifactId);
      requireOwner(before, artifactId, call);
      await requireUnneeded(call, requireArtifact(before, artifactId).artifact);
      const { known, artifact, position } = await command(call, artifactId, (state, now) => {
        requireOwner(state, artifactId, call);
        return deleteArtifact(state, request, now, limits.graceMs);
      });
      if (artifact.status === ArtifactStatus.PURGED) await destroyArtifact(deps, known);
      return { artifact, position };
    },
    async restore(call, request) {
      const { artifactId, reason, retention } = request;
      const retentionMs = retentionOf(retention, limits.retentionMs);
      const { artifact, position } = await command(call, artifactId, (state, now) => {
        requireOwner(state, artifactId, call);
        return restoreArtifact(state, { artifactId, reason }, now, retentionMs);
      });
      return { artifact, position };
    },
    async setLegalHold(call, request) {
      const { artifact, position } = await command(call, request.artifactId, (state, now) =>
        setLegalHold(state, request, now),
      );
      return { artifact, position };
    },
    async usage({ workspaceId, signal }, { minPosition }) {
      await positions.reach(minPosition, signal);
      const { artifactCount, sizeBytes, heldCount } = await storedTotal(db, workspaceId);
      return {
        usage: create(StorageUsageSchema, { artifactCount, sizeBytes, heldCount }),
        limits: storageLimits(limits),
      };
    },
  };
}

function storageLimits(limits: ArtifactLimits): StorageLimits {
  return create(StorageLimitsSchema, {
    maxArtifactBytes: BigInt(limits.maxArtifactBytes),
    maxRunArtifacts: limits.maxRunArtifacts,
    maxRunBytes: BigInt(limits.maxRunBytes),
    maxWorkspaceBytes: BigInt(limits.maxWorkspaceBytes),
    retention: durationFromMs(limits.retentionMs),
    grace: durationFromMs(limits.graceMs),
  });
}
