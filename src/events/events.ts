import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import type { GetEventRequest, ListEventsRequest, SubscribeRequest } from "../../gen/signalbox/v1/event_service_pb.ts";
import type { Deltas, DeltaSubscription } from "../deltas/deltas.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { Feed, Subscription } from "../eventlog/feed.ts";
import type { LogBounds } from "../eventlog/log-store.ts";
import { EventRecord } from "../eventlog/record.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { keeps, readFilter, type Selection } from "./filter.ts";
import { findEvent, listEvents } from "./queries.ts";

/** One frame of a subscription. */
export type Frame =
  | { readonly case: "ready"; readonly headPosition: bigint; readonly earliestPosition: bigint }
  | { readonly case: "event"; readonly record: EventRecord }
  | { readonly case: "heartbeat"; readonly headPosition: bigint }
  | { readonly case: "delta"; readonly delta: RunDelta };

/** A page of events in log order. */
export interface EventPage {
  readonly records: EventRecord[];
  readonly nextPosition: bigint;
  readonly complete: boolean;
}

/** What clients can read of the log. Every function throws the errors that event_service.proto names. */
export interface Events {
  list(call: Call, request: ListEventsRequest): Promise<EventPage>;
  get(call: Call, request: GetEventRequest): Promise<EventRecord>;
  /** `draining` ends it with DRAINING: the client resumes at another server. */
  subscribe(call: Call, request: SubscribeRequest, draining: AbortSignal): AsyncGenerator<Frame>;
}

/** Where a run stands: its newest position, and whether it has ended. */
export interface RunEnd {
  readonly position: bigint;
  readonly terminal: boolean;
}

/** What events need. */
export interface EventsDeps {
  readonly log: EventLog;
  readonly feed: Feed;
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly deltas: Pick<Deltas, "subscribe">;
  /** How often an idle subscription sends a heartbeat, default 15 s. */
  readonly heartbeatMs?: number;
  /** Where a run stands now. RUN_NOT_FOUND when it is not there. */
  readonly runEnd: (call: Call, runId: string) => Promise<RunEnd>;
}

/** The log as clients see it. */
export function createEvents(deps: EventsDeps): Events {
  const { log, feed, db, positions, deltas, runEnd, heartbeatMs = 15_000 } = deps;
  let earliest: bigint | undefined;

  /** The log as this process knows it, when that says enough: thousands who resume at once must not all ask the broker. */
  async function boundsFor(position: bigint): Promise<LogBounds> {
    const bounds =
      earliest !== undefined && position <= feed.position ? { earliest, head: feed.position } : await log.bounds();
    // Nothing is ever deleted from the log, so its beginning stays where it is.
    earliest = bounds.earliest;
    if (position > bounds.head) {
      throw new SignalboxError(
        "POSITION_IN_FUTURE",
        `position ${position} is beyond the end of the log (${bounds.head}); give a position that you have received`,
        { head_position: String(bounds.head) },
      );
    }
    if (position > 0n && position < bounds.earliest - 1n) {
      throw new SignalboxError(
        "POSITION_EXPIRED",
        `position ${position} is older than what is kept; start again from ${bounds.earliest - 1n}`,
        { earliest_position: String(bounds.earliest) },
      );
    }
    return bounds;
  }

  async function list(call: Call, request: ListEventsRequest): Promise<EventPage> {
    const selection = readFilter(call.workspaceId, request.filter);
    const { size } = readPage("events", [], request.pageSize, "");
    if (request.afterPosition > feed.position) await boundsFor(request.afterPosition);
    // Who polls one run sees everything up to now, so that `complete` means complete.
    const run = selection.runId === undefined ? undefined : await runEnd(call, selection.runId);
    const reach = run && run.position > request.minPosition ? run.position : request.minPosition;
    await positions.reach(reach, call.signal);
    const { rows, more } = await listEvents(db, selection, request.afterPosition, size);
    const records = rows.map((row) => new EventRecord({ ...row, subject: "" }));
    return {
      records,
      nextPosition: records.at(-1)?.position ?? request.afterPosition,
      complete: run?.terminal === true && !more,
    };
  }

  async function* subscribe(call: Call, request: SubscribeRequest, draining: AbortSignal): AsyncGenerator<Frame> {
    const selection = readFilter(call.workspaceId, request.filter);
    const bounds = await boundsFor(request.fromPosition);
    const run = selection.runId === undefined ? undefined : await runEnd(call, selection.runId);
    using subscription = feed.subscribe(selection.view, request.fromPosition);
    using output = request.includeDeltas ? outputOf(selection, () => subscription.wake()) : undefined;
    yield { case: "ready", headPosition: bounds.head, earliestPosition: bounds.earliest };
    if (run?.terminal && request.fromPosition >= run.position) return;
    yield* follow(subscription, output, selection, AbortSignal.any([call.signal, draining]));
    if (draining.aborted) {
      throw new SignalboxError(
        "DRAINING",
        "this server is shutting down; connect again and resume from your last position",
      );
    }
  }

  /** Output in the making, of which only runs have any. It comes without what most fields of a filter look at. */
  function outputOf({ view, roomId, runId }: Selection, wake: () => void): DeltaSubscription | undefined {
    if (view.stream !== undefined && runId === undefined) return undefined;
    return deltas.subscribe({ workspaceId: view.workspaceId, roomId: roomId || undefined, runId }, wake);
  }

  async function* follow(
    subscription: Subscription,
    output: DeltaSubscription | undefined,
    selection: Selection,
    signal: AbortSignal,
  ): AsyncGenerator<Frame> {
    let heartbeatAt = performance.now() + heartbeatMs;
    while (!signal.aborted) {
      const waitMs = output?.length ? 0 : heartbeatAt - performance.now();
      const records = await subscription.next(waitMs, signal);
      for (const record of records) {
        if (signal.aborted) return;
        if (keeps(selection, record.event)) yield { case: "event", record };
        if (selection.runId !== undefined && terminalRunTypes.has(record.event.type)) return;
      }
      // One piece at a time: an event that comes meanwhile is next.
      const delta = output?.take();
      if (delta !== undefined && !signal.aborted) yield { case: "delta", delta };
      if (performance.now() < heartbeatAt || signal.aborted) continue;
      heartbeatAt = performance.now() + heartbeatMs;
      yield { case: "heartbeat", headPosition: subscription.position };
    }
  }

  return {
    list,
    subscribe,
    async get(call, { eventId, minPosition }) {
      await positions.reach(minPosition, call.signal);
      const row = await findEvent(db, call.workspaceId, eventId);
      if (row === undefined) {
        throw new SignalboxError("EVENT_NOT_FOUND", `event ${eventId} does not exist in this workspace`);
      }
      return new EventRecord({ ...row, subject: "" });
    },
  };
}
