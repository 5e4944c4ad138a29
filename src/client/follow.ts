import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
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
  const { signal } = options;
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

/** One connection's worth of frames. */
interface Subscription {
  /** The next frame. Throws UNAVAILABLE after too long a silence. */
  next(): Promise<IteratorResult<SubscribeResponse>>;
  /** Ends the call. Doing it twice is fine. */
  close(): void;
}

function subscribe(
  { events }: Pick<SignalboxClient, "events">,
  { filter, signal, silenceTimeoutMs = 45_000 }: FollowOptions,
  fromPosition: bigint,
): Subscription {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal?.addEventListener("abort", abort);
  const request = filter === undefined ? { fromPosition } : { filter, fromPosition };
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
