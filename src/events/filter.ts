import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { EventFilter } from "../../gen/signalbox/v1/event_service_pb.ts";
import type { View } from "../eventlog/subjects.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** What a filter keeps, ready for the feed and for SQL. */
export interface Selection {
  /** Where to look. A run is followed whatever room it is in, so that its end is seen; `roomId` then drops its events. */
  readonly view: View;
  /** The room that events must be of; empty for any. */
  readonly roomId: string;
  /** The run that the filter names; undefined when it names none. */
  readonly runId: string | undefined;
  /** Exact event types; empty together with `nouns` for all. */
  readonly types: readonly string[];
  /** Nouns of which every type is kept: `run` for `run.*`. */
  readonly nouns: readonly string[];
  readonly correlationId: string;
  /** Empty for all. */
  readonly threadId: string;
  readonly actorId: string;
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
}

/** Reads a filter. INVALID_REQUEST when it names two different aggregates or an unknown kind of one. */
export function readFilter(workspaceId: string, filter: EventFilter | undefined): Selection {
  const types = filter?.types ?? [];
  const stream = readStream(filter);
  return {
    view: stream ? { workspaceId, stream } : { workspaceId, ...(filter?.roomId ? { roomId: filter.roomId } : {}) },
    roomId: filter?.roomId ?? "",
    runId: stream?.type === "run" ? stream.id : undefined,
    types: types.filter((type) => !type.endsWith(".*")),
    nouns: types.filter((type) => type.endsWith(".*")).map((type) => type.slice(0, -2)),
    correlationId: filter?.correlationId ?? "",
    threadId: filter?.threadId ?? "",
    actorId: filter?.actorId ?? "",
    startMs: filter?.startTime && timestampMs(filter.startTime),
    endMs: filter?.endTime && timestampMs(filter.endTime),
  };
}

function readStream(filter: EventFilter | undefined): View["stream"] {
  const named = filter?.runId ? { type: "run", id: filter.runId } : undefined;
  if (!filter?.stream) return named;
  const { type, id } = filter.stream;
  if (!/^[a-z_]{1,30}$/.test(type) || !/^[a-z]{1,10}_[0-9A-Za-z]{1,40}$/.test(id)) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      'filter.stream needs a type like "run" and an id like "run_01ARZ3NDEKTSV4RRFFQ69G5FAV"',
    );
  }
  if (named && (named.type !== type || named.id !== id)) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "filter.run_id and filter.stream name different aggregates; give one of them",
    );
  }
  return { type, id };
}

/** True when the selection keeps the event. The rest of the view is not looked at: the feed has applied it. Pure. */
export function keeps(selection: Selection, event: Event): boolean {
  const { roomId, types, nouns, correlationId, threadId, actorId, startMs, endMs } = selection;
  if (threadId !== "" && event.threadId !== threadId) return false;
  if (roomId !== "" && event.roomId !== roomId) return false;
  const wantsAllTypes = types.length === 0 && nouns.length === 0;
  if (!wantsAllTypes && !types.includes(event.type) && !nouns.includes(event.type.split(".")[0] ?? "")) return false;
  if (correlationId !== "" && event.correlationId !== correlationId) return false;
  if (actorId !== "" && event.actor?.id !== actorId) return false;
  const timeMs = event.createTime ? timestampMs(event.createTime) : 0;
  return (startMs === undefined || timeMs >= startMs) && (endMs === undefined || timeMs < endMs);
}
