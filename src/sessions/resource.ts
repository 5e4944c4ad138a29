import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Compaction, CompactionSchema, type Session, SessionSchema } from "../../gen/signalbox/v1/session_pb.ts";

/** The session after an event of its runs or of its own stream; undefined until a run names it. Pure. */
export function evolveSession(session: Session | undefined, event: Event): Session | undefined {
  const { payload, workspaceId, createTime, position } = event;
  if (payload.case === "runCreated" && payload.value.sessionId !== "") {
    const { sessionId } = payload.value;
    const before = session ?? create(SessionSchema, { sessionId, workspaceId, createTime });
    const lastRunId = event.stream?.id ?? "";
    return { ...before, runCount: before.runCount + 1n, lastRunId, updateTime: createTime, position };
  }
  if (session === undefined) return undefined;
  const compaction = compactionOf(event);
  return compaction === undefined ? session : { ...session, compaction, updateTime: createTime, position };
}

/** The summary that an event records; undefined when it records none. */
export function compactionOf({ payload, createTime }: Event): Compaction | undefined {
  if (payload.case !== "sessionCompacted") return undefined;
  const { summary, throughRunId, turnCount } = payload.value;
  return create(CompactionSchema, { summary, throughRunId, turnCount, compactTime: createTime });
}
