import { create } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { SessionCompactedSchema } from "../../gen/signalbox/v1/session_event_pb.ts";
import type { CompactSessionRequest } from "../../gen/signalbox/v1/session_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { SessionState } from "./state.ts";

/** Where runs of a session stand in the log, by id. A run's place never changes, so it may be looked up beforehand. */
export type RunPositions = ReadonlyMap<string, bigint>;

/**
 * session.compacted; nothing when the newest summary says the same. `positions` knows every run of the session that this
 * rests on: RUN_NOT_FOUND when the request's is not among them, CONTENTION when that of the newest summary is not, because
 * somebody has compacted since it was looked up. INVALID_STATE when a newer run is covered already.
 */
export function compactSession(
  { compaction }: SessionState,
  { sessionId, summary, throughRunId, turnCount }: CompactSessionRequest,
  positions: RunPositions,
): Draft | undefined {
  const through = positions.get(throughRunId);
  if (through === undefined) throw runNotInSession(throughRunId, sessionId);
  if (compaction !== undefined) {
    const same = compaction.summary === summary && compaction.turnCount === turnCount;
    if (same && compaction.throughRunId === throughRunId) return undefined;
    const covered = positions.get(compaction.throughRunId);
    if (covered === undefined) {
      throw new SignalboxError(
        "CONTENTION",
        `session ${sessionId} was compacted by somebody else just now; read it again`,
      );
    }
    if (covered > through) {
      throw new SignalboxError(
        "INVALID_STATE",
        `session ${sessionId} has a summary through ${compaction.throughRunId}, which is newer than ${throughRunId}; ` +
          "read the session again and continue from its summary",
        { through_run_id: compaction.throughRunId },
      );
    }
  }
  const value = create(SessionCompactedSchema, { summary, throughRunId, turnCount });
  return { payload: { case: "sessionCompacted", value }, zone: Zone.SANDBOX };
}

/** Unknown ids and ids of another tenant look the same. */
export function sessionNotFound(sessionId: string): SignalboxError {
  return new SignalboxError("SESSION_NOT_FOUND", `session ${sessionId} does not exist in this workspace`);
}

/** Whether there is such a run elsewhere makes no difference. */
export function runNotInSession(runId: string, sessionId: string): SignalboxError {
  return new SignalboxError("RUN_NOT_FOUND", `run ${runId} is none of session ${sessionId}`);
}
