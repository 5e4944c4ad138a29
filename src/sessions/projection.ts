import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { SessionSchema } from "../../gen/signalbox/v1/session_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveSession } from "./resource.ts";

/** The tables of this noun. */
export const sessionProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "sessions",
    idColumn: "session_id",
    schema: SessionSchema,
    columns: [],
    idsOf: sessionIdsOf,
    evolve: evolveSession,
    precedesStream: true,
  }),
];

function sessionIdsOf({ payload, stream }: Event): readonly string[] {
  if (payload.case === "runCreated") return payload.value.sessionId === "" ? [] : [payload.value.sessionId];
  return stream?.type === "session" ? [stream.id] : [];
}
