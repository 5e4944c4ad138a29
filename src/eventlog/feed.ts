import type { Logger } from "pino";
import { type Bell, createBell } from "../kernel/wait.ts";
import type { EventLog } from "./event-log.ts";
import { createRecentRecords } from "./recent-records.ts";
import type { EventRecord } from "./record.ts";
import { subjectMatches, type View } from "./subjects.ts";

/** Records that wait for one subscriber before it is sent back to catching up: the bound of its memory. */
const queueRecords = 256;
const queueBytes = 1024 * 1024;
/** Records handed out at once. */
const chunkRecords = 256;

/** A place in the log that moves forward through one view. */
export interface Subscription extends Disposable {
  /**
   * The next records of the view, in order, none missing and none twice. Empty when `ms` passed or the signal aborted
   * without any. One call at a time. STORE_UNAVAILABLE when the log can not be read; the next call tries again.
   */
  next(ms: number, signal?: AbortSignal): Promise<EventRecord[]>;
  /** Makes the call of `next` that waits, or else the one that would, return at once. */
  wake(): void;
  /** Every record of the view up to here was handed out: resuming after it is exact. */
  readonly position: bigint;
}

/** One tail of the log for a whole process, and everyone who follows it. */
export interface Feed extends AsyncDisposable {
  /** The newest position that the tail has seen. */
  readonly position: bigint;
  /** Follows a view ("all" for the whole log) behind a position: from the record first, then live. */
  subscribe(view: View | "all", after: bigint): Subscription;
}

interface Subscriber {
  readonly filter: string;
  deliver(record: EventRecord): void;
}

/** Opens the one tail of this process, at the log's present end. */
export async function openFeed(log: EventLog, logger: Logger): Promise<Feed> {
  const stop = new AbortController();
  const recent = createRecentRecords((await log.bounds()).head);
  const subscribers = new Map<string, Set<Subscriber>>();

  async function follow(): Promise<void> {
    for await (const record of log.tail(recent.head, stop.signal)) {
      recent.add(record);
      for (const key of routes(record.subject)) {
        for (const subscriber of subscribers.get(key) ?? []) {
          // A route narrows by one name only; the filter has the last word.
          if (subjectMatches(subscriber.filter, record.subject)) subscriber.deliver(record);
        }
      }
    }
  }

  const following = follow().catch((error: unknown) => logger.fatal({ err: error }, "feed stopped"));

  function attach(route: string, subscriber: Subscriber): () => void {
    const set = subscribers.get(route) ?? new Set();
    subscribers.set(route, set.add(subscriber));
    return () => {
      set.delete(subscriber);
      if (set.size === 0) subscribers.delete(route);
    };
  }

  return {
    get position() {
      return recent.head;
    },
    subscribe: (view, after) => {
      const filter = view === "all" ? log.subjects.all : log.subjects.view(view);
      return createSubscription({ filter, after, log, recent, attach: (own) => attach(routeOf(view), own) });
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await following;
    },
  };
}

interface SubscriptionDeps {
  readonly filter: string;
  readonly after: bigint;
  readonly log: EventLog;
  readonly recent: ReturnType<typeof createRecentRecords>;
  readonly attach: (subscriber: Subscriber) => () => void;
}

/**
 * Live records are queued as they come. When the queue is full they are dropped from memory and read again from the log,
 * at the subscriber's own pace: nothing is lost and nobody else waits.
 */
function createSubscription({ filter, after, log, recent, attach }: SubscriptionDeps): Subscription {
  const bell: Bell = createBell();
  let cursor = after;
  let queue: EventRecord[] = [];
  let queued = 0;
  // Behind: the queue does not follow on the cursor, the log must be read first.
  let behind = true;
  let woken = false;
  let catchUp: AsyncGenerator<EventRecord, void, void> | undefined;
  let catchUpTo = 0n;

  const detach = attach({
    filter,
    deliver(record) {
      if (behind || record.position <= cursor) return;
      // What lies between belongs to other views; so the position never goes back.
      if (catchUp === undefined && queue.length === 0) cursor = record.position - 1n;
      queue.push(record);
      queued += record.body.length;
      if (queue.length > queueRecords || queued > queueBytes) {
        behind = true;
        queue = [];
        queued = 0;
      }
      bell.ring();
    },
  });

  function startCatchUp(): void {
    // From this instant on, live records queue up behind the target.
    behind = false;
    catchUpTo = recent.head;
    if (catchUpTo <= cursor) return;
    catchUp = replay(cursor, catchUpTo);
  }

  /** What is on record: out of memory as far as that reaches back, piece by piece, else out of the log. */
  async function* replay(from: bigint, upTo: bigint): AsyncGenerator<EventRecord, void, void> {
    for (let done = from; done < upTo;) {
      const kept = recent.following(done, chunkRecords);
      if (kept === undefined) return yield* log.read(filter, done, upTo);
      for (const record of kept) {
        if (record.position > upTo) return;
        if (subjectMatches(filter, record.subject)) yield record;
        done = record.position;
      }
    }
  }

  /** After a read that failed: what it had found was not handed out, so the log is read again from the cursor. */
  function fallBack(): void {
    catchUp = undefined;
    behind = true;
    queue = [];
    queued = 0;
  }

  async function nextCaughtUp(source: AsyncGenerator<EventRecord, void, void>): Promise<EventRecord[]> {
    const chunk: EventRecord[] = [];
    let bytes = 0;
    while (chunk.length < chunkRecords && bytes < queueBytes) {
      const { value, done } = await source.next();
      if (done) {
        catchUp = undefined;
        cursor = catchUpTo;
        return chunk;
      }
      chunk.push(value);
      bytes += value.body.length;
    }
    cursor = chunk.at(-1)?.position ?? cursor;
    return chunk;
  }

  function takeQueue(): EventRecord[] {
    const taken = queue;
    queue = [];
    queued = 0;
    cursor = taken.at(-1)?.position ?? cursor;
    return taken;
  }

  return {
    get position() {
      return !behind && catchUp === undefined && queue.length === 0 && recent.head > cursor ? recent.head : cursor;
    },
    async next(ms, signal) {
      const deadline = performance.now() + ms;
      while (!signal?.aborted) {
        if (catchUp === undefined && behind) startCatchUp();
        if (catchUp !== undefined) {
          const chunk = await nextCaughtUp(catchUp).catch((error: unknown) => {
            fallBack();
            throw error;
          });
          if (chunk.length > 0) return chunk;
        } else if (queue.length > 0) {
          return takeQueue();
        } else {
          const left = deadline - performance.now();
          if (left <= 0 || woken) {
            woken = false;
            return [];
          }
          await bell.wait(signal, left);
        }
      }
      return [];
    },
    wake() {
      woken = true;
      bell.ring();
    },
    [Symbol.dispose]: detach,
  };
}

/** The one route that a view listens on. */
function routeOf(view: View | "all"): string {
  if (view === "all") return "";
  if (view.stream) return `${view.workspaceId}/${view.stream.type}/${view.stream.id}`;
  return view.roomId ? `${view.workspaceId}/${view.roomId}` : view.workspaceId;
}

/** Every route that a record goes to, from its subject. */
function routes(subject: string): string[] {
  const [workspaceId = "", roomId, type, id] = subject.split(".").slice(-4);
  return ["", workspaceId, `${workspaceId}/${roomId}`, `${workspaceId}/${type}/${id}`];
}
