import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type GetSnapshotRequest,
  type GetSnapshotResponse,
  GetSnapshotResponseSchema,
  PipelineStageKind,
} from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { readBoard } from "./queries.ts";

/** All work at once. */
export interface Pipeline {
  /** Every open run of the workspace, and those that have ended lately, by stage: one consistent read. READ_MODEL_BEHIND. */
  snapshot(call: Call, request: GetSnapshotRequest): Promise<GetSnapshotResponse>;
}

/** What the pipeline needs. */
export interface PipelineDeps {
  readonly postgres: Postgres;
  readonly positions: Pick<Positions, "reach">;
  readonly clock: Clock;
}

const defaultLimit = 200;
const maxLimit = 5_000;
const defaultEndedMs = 24 * 60 * 60_000;

const stages = [
  PipelineStageKind.INBOX,
  PipelineStageKind.QUEUED,
  PipelineStageKind.RUNNING,
  PipelineStageKind.NEEDS_DECISION,
  PipelineStageKind.DONE,
  PipelineStageKind.FAILED,
];

/** The pipeline on the read models. */
export function createPipeline({ postgres, positions, clock }: PipelineDeps): Pipeline {
  return {
    async snapshot({ workspaceId, signal }, { roomId, limit, endedAfter, minPosition }) {
      await positions.reach(minPosition, signal);
      const board = await readBoard(postgres, {
        workspaceId,
        roomId,
        endedAfter: endedAfter ? timestampDate(endedAfter) : new Date(clock.now().getTime() - defaultEndedMs),
        limit: limit === 0 ? defaultLimit : Math.min(limit, maxLimit),
      });
      return create(GetSnapshotResponseSchema, {
        position: board.position,
        openIncidentCount: board.openIncidents,
        stages: stages.map((kind) => {
          const count = board.counts.get(kind) ?? 0n;
          const items = board.items.get(kind) ?? [];
          return { kind, count, items, truncated: count > items.length };
        }),
      });
    },
  };
}
