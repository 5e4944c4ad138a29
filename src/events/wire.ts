import { create, type UnknownField } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type ListEventsResponse,
  ListEventsResponseSchema,
  SubscribeHeartbeatSchema,
  SubscribeReadySchema,
  type SubscribeResponse,
  SubscribeResponseSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { EventPage, Frame } from "./events.ts";

const eventsField = ListEventsResponseSchema.field.events.number;
const eventField = SubscribeResponseSchema.field.event.number;

/** True when the caller wants JSON: by content type, or by `encoding` in a Connect GET. */
export function wantsJson({ requestHeader, requestMethod, url }: HandlerContext): boolean {
  if (requestMethod === "GET") return new URL(url).searchParams.get("encoding") === "json";
  return requestHeader.get("content-type")?.includes("json") ?? false;
}

/**
 * A page as a message. In the binary form the events are the stored bytes themselves, put in as raw fields: nothing is
 * decoded and encoded again. JSON needs the decoded events.
 */
export function pageMessage({ records, nextPosition, complete }: EventPage, json: boolean): ListEventsResponse {
  const message = create(ListEventsResponseSchema, { nextPosition, complete });
  if (json) message.events = records.map(({ event }) => event);
  else message.$unknown = records.map((record) => rawField(eventsField, record));
  return message;
}

/** A frame as a message; an event as in `pageMessage`. The binary form of an event is made once for all subscribers. */
export function frameMessage(frame: Frame, json: boolean): SubscribeResponse {
  switch (frame.case) {
    case "ready": {
      const { headPosition, earliestPosition } = frame;
      const value = create(SubscribeReadySchema, { headPosition, earliestPosition });
      return create(SubscribeResponseSchema, { frame: { case: "ready", value } });
    }
    case "heartbeat": {
      const value = create(SubscribeHeartbeatSchema, { headPosition: frame.headPosition });
      return create(SubscribeResponseSchema, { frame: { case: "heartbeat", value } });
    }
    case "delta":
      return create(SubscribeResponseSchema, { frame: { case: "delta", value: frame.delta } });
    case "event": {
      const message = create(SubscribeResponseSchema);
      if (json) message.frame = { case: "event", value: frame.record.event };
      else message.$unknown = [rawField(eventField, frame.record)];
      return message;
    }
  }
}

function rawField(no: number, record: EventRecord): UnknownField {
  return { no, wireType: WireType.LengthDelimited, data: new BinaryWriter().bytes(record.wire).finish() };
}
