import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { EventFilterSchema, SubscribeResponse } from "../../gen/signalbox/v1/event_service_pb.ts";
import { createBackoff, pause } from "./backoff.ts";
import type { SignalboxClient } from "./clients.ts";
import { isTransient } from "./reason.ts";

/** What to follow. */
export interface FollowOptions {
  /** Which events; the whole workspace when absent. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema> | undefined;
  /** Starts after this position, default 0: the beginning. */
  readonly fromPosition?: bigint | undefined;
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Takes output while it is made, no piece of a run twice; of a run that the filter names, first what was made lately. It
   * never holds up an event, and some may be missing (a gap in the indexes): what counts is in the events.
   */
  readonly onDelta?: ((delta: RunDelta) => void) | undefined;
  /** Told of every break, and after how many milliseconds it is tried again. */
  readonly onRetry?: ((error: unknown, delayMs: number) => void) | undefined;
  /** Milliseconds without a sign of life after which a connection is given up, default 45,000: three heartbeats. */
  readonly silenceTimeoutMs?: number | undefined;
}

/**
 * Every event that the filter keeps, once, in log order: first those on record, then each new one. Survives broken
 * connections and server restarts by resuming after the last position. Ends when the run that the filter names has ended,
 * or the signal aborts; throws what does not pass by itself, for example RUN_NOT_FOUND or POSITION_EXPIRED.
 */
export async function* follow(
  client: Pick<SignalboxClient, "events">,
  options: FollowOptions = {},
): AsyncGenerator<Event, void, undefined> {
  const { signal, onDelta } = options;
  const isNew = createDeltaFilter();
  const backoff = createBackoff(100, 5_000);
  let position = options.fromPosition ?? 0n;
  let subscription: Subscription | undefined;
  try {
    while (!signal?.aborted) {
      subscription ??= subscribe(client, options, position);
      let result: IteratorResult<SubscribeResponse>;
      try {
        result = await subscription.next();
      } catch (error) {
        subscription.close();
        subscription = undefined;
        if (signal?.aborted) return;
        if (!isTransient(error)) throw error;
        const delayMs = backoff.next();
        options.onRetry?.(error, delayMs);
        await pause(delayMs, signal);
        continue;
      }
      if (result.done === true) return;
      const { frame } = result.value;
      if (frame.case === "heartbeat") {
        backoff.reset();
        if (frame.value.headPosition > position) position = frame.value.headPosition;
      }
      if (frame.case === "delta" && isNew(frame.value)) onDelta?.(frame.value);
      if (frame.case === "event" && frame.value.position > position) {
        backoff.reset();
        yield frame.value;
        position = frame.value.position;
      }
    }
  } finally {
    subscription?.close();
  }
}

/** Steps whose newest index is remembered. */
const maxSteps = 1_000;

/** Tells pieces that begin behind those seen before: after a break, what is kept of a run comes again. */
function createDeltaFilter(): (delta: RunDelta) => boolean {
  const newest = new Map<string, number>();
  return ({ runId, attempt, delta, joined }) => {
    if (delta === undefined) return false;
    const key = `${runId}/${attempt}/${delta.stepKey}`;
    if (delta.index - joined <= (newest.get(key) ?? -1)) return false;
    newest.delete(key);
    newest.set(key, delta.index);
    const [oldest] = newest.keys();
    if (newest.size > maxSteps && oldest !== undefined) newest.delete(oldest);
    return true;
  };
}

/** One connection's worth of frames. */
interface Subscription {
  /** The next frame. Throws UNAVAILABLE after too long a silence. */
  next(): Promise<IteratorResult<SubscribeResponse>>;
  /** Ends the call. Doing it twice is fine. */
  close(): void;
}

function subscribe(
  { events }: Pick<SignalboxClient, "events">,
  { filter, signal, onDelta, silenceTimeoutMs = 45_000 }: FollowOptions,
  fromPosition: bigint,
): Subscription {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal?.addEventListener("abort", abort);
  const request = { ...(filter === undefined ? {} : { filter }), fromPosition, includeDeltas: onDelta !== undefined };
  const frames = events.subscribe(request, { signal: controller.signal })[Symbol.asyncIterator]();
  return {
    async next() {
      // Only while we wait: a consumer may take its time.
      const timer = setTimeout(() => {
        controller.abort(new ConnectError(`no sign of life for ${silenceTimeoutMs} ms`, Code.Unavailable));
      }, silenceTimeoutMs);
      try {
        return await frames.next();
      } finally {
        clearTimeout(timer);
      }
    },
    close() {
      signal?.removeEventListener("abort", abort);
      controller.abort();
    },
  };
}
