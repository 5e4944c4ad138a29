import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Queue, QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";

/** The queue after an event of its stream, without its numbers; undefined until its settings are put. Pure. */
export function evolveQueue(queue: Queue | undefined, event: Event): Queue | undefined {
  const { payload, workspaceId, createTime, streamSequence, position } = event;
  if (payload.case !== "queueUpdated") return queue;
  return {
    ...(payload.value.queue ?? create(QueueSchema)),
    name: event.stream?.id ?? "",
    workspaceId,
    etag: String(streamSequence),
    updateTime: createTime,
    position,
  };
}
