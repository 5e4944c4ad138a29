import { type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { SubscribeRequestSchema, SubscribeResponse } from "../../gen/signalbox/v1/event_service_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { refusal } from "./refusal.ts";
import { until } from "../support/until.ts";

/** What a subscription has brought so far. Disposing it ends the call. */
export interface Subscribed extends AsyncDisposable {
  readonly frames: SubscribeResponse["frame"][];
  readonly events: Event[];
  /** Settles when the server has ended the stream: the error that it gave, or undefined. */
  readonly ended: Promise<unknown>;
}

/** Subscribes and reads whatever comes. Resolves once the `ready` frame is there, or the call has failed. */
export async function subscribed(
  client: SignalboxClient,
  request: MessageInitShape<typeof SubscribeRequestSchema> = {},
): Promise<Subscribed> {
  const stop = new AbortController();
  const frames: SubscribeResponse["frame"][] = [];
  const events: Event[] = [];
  let over = false;
  async function read(): Promise<unknown> {
    try {
      for await (const { frame } of client.events.subscribe(request, { signal: stop.signal })) {
        frames.push(frame);
        if (frame.case === "event") events.push(frame.value);
      }
      return undefined;
    } catch (error) {
      return error;
    } finally {
      over = true;
    }
  }
  const ended = read();
  await until(() => over || frames.length > 0, { what: "the first frame of a subscription" });
  return {
    frames,
    events,
    ended,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

/** The newest position of the log, as its leader has it: what was recorded just now counts, whoever has heard of it. */
export async function headPosition({ events }: SignalboxClient): Promise<bigint> {
  const { reason, metadata } = await refusal(events.listEvents({ afterPosition: 2n ** 62n }));
  const head = metadata?.["head_position"];
  if (head === undefined) throw new Error(`no position from the future was refused, but ${reason}`);
  return BigInt(head);
}

/** Everything in the workspace, by polling. */
export async function polled(client: SignalboxClient): Promise<Event[]> {
  const minPosition = await headPosition(client);
  const events: Event[] = [];
  for (let afterPosition = 0n; ;) {
    const page = await client.events.listEvents({ afterPosition, minPosition, pageSize: 200 });
    if (page.events.length === 0) return events;
    events.push(...page.events);
    afterPosition = page.nextPosition;
  }
}

/** Events as text, to compare what came one way with what came another. */
export function texts(events: readonly Event[]): string[] {
  return events.map((event) => toJsonString(EventSchema, event));
}
