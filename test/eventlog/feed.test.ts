import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { type Feed, openFeed, type Subscription } from "../../src/eventlog/feed.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects, subjectMatches, type View } from "../../src/eventlog/subjects.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { collectGarbage } from "../support/garbage.ts";
import { until } from "../support/until.ts";

const logger = pino({ level: "silent" });
const memoryLog = () => createEventLog(createMemoryStore(), createSubjects());
const newId = () => `run_${randomUUID()}`;
const positions = (records: readonly EventRecord[]) => records.map(({ position }) => position);

/** The positions of a view's events, as the log has them. */
async function expected(log: EventLog, view: View | "all", after: bigint): Promise<bigint[]> {
  const filter = view === "all" ? log.subjects.all : log.subjects.view(view);
  const all = await Array.fromAsync(log.read(log.subjects.all, after, (await log.bounds()).head));
  return positions(all.filter(({ subject }) => subjectMatches(filter, subject)));
}

/** Takes records until `upTo` is reached. */
async function drain(subscription: Subscription, upTo: bigint): Promise<EventRecord[]> {
  const found: EventRecord[] = [];
  while (subscription.position < upTo) found.push(...(await subscription.next(50)));
  return found;
}

/** What a feed does on every log. */
function testFeed(openLog: () => EventLog): void {
  test("a subscriber is caught up and goes on live, without gap or repeat, while events come in", async () => {
    const log = openLog();
    const appender = createAppender(log);
    const from = (await log.bounds()).head;
    for (let i = 0; i < 30; i++) await appender.append({ id: newId() });
    await using feed = await openFeed(log, logger);
    const appending = (async () => {
      for (let i = 0; i < 30; i++) {
        await Promise.all(Array.from({ length: 5 }, () => appender.append({ id: newId() })));
      }
    })();
    using subscription = feed.subscribe("all", from);
    const found = await drain(subscription, from + 180n);
    await appending;
    expect(positions(found)).toEqual(await expected(log, "all", from));
  });

  test("many subscribers see exactly their views, wherever they start", async () => {
    const log = openLog();
    const appender = createAppender(log);
    const from = (await log.bounds()).head;
    const [workspaceId, other] = [`ws_${newId()}`, `ws_${newId()}`];
    const streams = Array.from({ length: 12 }, (_, i) => ({
      id: newId(),
      workspaceId: i % 3 === 0 ? other : workspaceId,
      roomId: ["", "room_a", "room_b"][i % 3]!,
    }));
    const views: (View | "all")[] = [
      "all",
      { workspaceId },
      { workspaceId: other },
      { workspaceId, roomId: "room_a" },
      { workspaceId: other, roomId: "room_a" },
      ...streams.map((stream) => ({ workspaceId: stream.workspaceId, stream: { type: "run", id: stream.id } })),
      { workspaceId, roomId: "room_b", stream: { type: "run", id: streams[1]!.id } },
    ];
    for (const stream of streams) await appender.append(stream);
    await using feed = await openFeed(log, logger);
    const reading = views.map(async (view, index) => {
      const after = from + BigInt(index % 10);
      using subscription = feed.subscribe(view, after);
      const found = await drain(subscription, from + 132n);
      expect({ view, found: positions(found) }).toEqual({ view, found: await expected(log, view, after) });
      return found.length;
    });
    for (let i = 0; i < 10; i++) await Promise.all(streams.map((stream) => appender.append(stream)));
    const counts = await Promise.all(reading);
    // The room of the other workspace and that of another stream have nothing; all others have much.
    expect(counts.map((count) => count >= 9)).toEqual(
      views.map((_, index) => index !== 4 && index !== views.length - 1),
    );
  });

  test("a subscriber that stalls falls back to catching up, and still gets everything in order", async () => {
    const log = openLog();
    const appender = createAppender(log);
    await using feed = await openFeed(log, logger);
    const from = feed.position;
    using subscription = feed.subscribe("all", from);
    const ids = Array.from({ length: 600 }, newId);
    const add = async (some: string[]) => void (await Promise.all(some.map((id) => appender.append({ id }))));
    await add(ids.slice(0, 1));
    const found = await subscription.next(5_000);
    // More than the queue of one subscriber holds.
    for (let i = 1; i < ids.length; i += 100) await add(ids.slice(i, i + 100));
    found.push(...(await drain(subscription, from + 600n)));
    expect(positions(found)).toEqual(await expected(log, "all", from));
  });
}

describe("a feed on a log in memory", () => {
  testFeed(memoryLog);
});

describe("with a NATS server", () => {
  let backend: TestBackend;
  beforeAll(async () => {
    backend = await openTestBackend();
  });
  afterAll(() => backend?.[Symbol.asyncDispose]());
  describe("a feed on a log in JetStream", () => {
    testFeed(() => backend.log);
  });
});

describe("a subscription", () => {
  async function openFilled(count: number, bytes = 0) {
    const log = memoryLog();
    const appender = createAppender(log);
    const feed = await openFeed(log, logger);
    const add = async (more: number, stream: { roomId?: string } = {}) => {
      for (let i = 0; i < more; i++) await appender.append({ id: `run_${"x".repeat(bytes)}${newId()}`, ...stream });
    };
    await add(count);
    await until(() => feed.position === BigInt(count), { what: "the feed" });
    return { log, feed, add, [Symbol.asyncDispose]: () => feed[Symbol.asyncDispose]() };
  }

  test("moves its position over events of other views", async () => {
    await using filled = await openFilled(3);
    const { feed, add } = filled;
    using subscription = feed.subscribe({ workspaceId: "ws_test", roomId: "room_a" }, 0n);
    expect(await subscription.next(0)).toEqual([]);
    expect(subscription.position).toBe(3n);
    await add(2);
    await until(() => subscription.position === 5n, { what: "the position" });
    await add(1, { roomId: "room_a" });
    await until(() => feed.position === 6n, { what: "the feed" });
    // The sixth event was not handed out yet.
    expect(subscription.position).toBe(5n);
    expect(positions(await subscription.next(5_000))).toEqual([6n]);
    expect(subscription.position).toBe(6n);
  });

  test("resumes exactly from wherever it was left", async () => {
    const scenario = fc.record({
      steps: fc.array(fc.record({ add: fc.nat(400), take: fc.nat(3), resume: fc.boolean() }), {
        minLength: 1,
        maxLength: 8,
      }),
      before: fc.nat(300),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ steps, before }) => {
        await using filled = await openFilled(before);
        const { feed, add } = filled;
        let subscription = feed.subscribe("all", 0n);
        const found: EventRecord[] = [];
        let total = BigInt(before);
        for (const step of steps) {
          await add(step.add);
          total += BigInt(step.add);
          for (let i = 0; i < step.take; i++) found.push(...(await subscription.next(0)));
          expect(subscription.position).toBe(found.at(-1)?.position ?? 0n);
          if (!step.resume) continue;
          subscription[Symbol.dispose]();
          subscription = feed.subscribe("all", subscription.position);
        }
        found.push(...(await drain(subscription, total)));
        expect(positions(found)).toEqual(Array.from({ length: Number(total) }, (_, i) => BigInt(i + 1)));
      }),
      { numRuns: 50 },
    );
  });

  test("loses nothing when the log can not be read for a while", async () => {
    const log = memoryLog();
    const appender = createAppender(log);
    for (let i = 0; i < 20; i++) await appender.append({ id: newId() });
    let failures = 2;
    const failing: EventLog = {
      ...log,
      async *read(...args) {
        let count = 0;
        for await (const record of log.read(...args)) {
          if (count++ === 7 && failures-- > 0) throw new Error("no answer");
          yield record;
        }
      },
    };
    await using feed = await openFeed(failing, logger);
    using subscription = feed.subscribe("all", 0n);
    await expect(subscription.next(0)).rejects.toThrow("no answer");
    expect(subscription.position).toBe(0n);
    await expect(subscription.next(0)).rejects.toThrow("no answer");
    expect(positions(await subscription.next(0))).toEqual(Array.from({ length: 20 }, (_, i) => BigInt(i + 1)));
  });

  test("waits for positions that are yet to come", async () => {
    await using filled = await openFilled(2);
    const { feed, add } = filled;
    using subscription = feed.subscribe("all", 4n);
    const next = subscription.next(5_000);
    await add(3);
    expect(positions(await next)).toEqual([5n]);
  });

  test("gives nothing when the time is over or its signal aborts", async () => {
    await using filled = await openFilled(0);
    using subscription = filled.feed.subscribe("all", 0n);
    expect(await subscription.next(1)).toEqual([]);
    expect(await subscription.next(60_000, AbortSignal.abort())).toEqual([]);
    const stop = new AbortController();
    const next = subscription.next(60_000, stop.signal);
    stop.abort();
    expect(await next).toEqual([]);
  });

  test("gives nothing at once when it is woken, before or while it waits", async () => {
    const log = memoryLog();
    await using feed = await openFeed(log, logger);
    using subscription = feed.subscribe("all", 0n);
    subscription.wake();
    expect(await subscription.next(60_000)).toEqual([]);
    const waiting = subscription.next(60_000);
    subscription.wake();
    expect(await waiting).toEqual([]);
    await createAppender(log).append({ id: newId() });
    expect(positions(await subscription.next(60_000))).toEqual([1n]);
  });

  test("encodes a record once for all who want it", async () => {
    await using filled = await openFilled(1);
    const { feed, add } = filled;
    const subscriptions = Array.from({ length: 5 }, () => feed.subscribe("all", feed.position));
    for (const subscription of subscriptions) await subscription.next(0);
    await add(1);
    const found = await Promise.all(subscriptions.map((subscription) => subscription.next(5_000)));
    expect(new Set(found.map(([record]) => record?.wire)).size).toBe(1);
  });

  test("costs no memory while it stalls, beyond the end of the log that all share", async () => {
    const log = memoryLog();
    const made: WeakRef<EventRecord>[] = [];
    async function* noted(records: AsyncIterable<EventRecord>) {
      for await (const record of records) {
        made.push(new WeakRef(record));
        yield record;
      }
    }
    const watched: EventLog = {
      ...log,
      read: (...args) => noted(log.read(...args)),
      tail: (...args) => noted(log.tail(...args)),
    };
    const appender = createAppender(log);
    await using feed = await openFeed(watched, logger);
    const add = async (more: number) => {
      for (let i = 0; i < more; i++) await appender.append({ id: newId() });
    };
    const subscriptions: Subscription[] = [];
    const stall = async (from: bigint) => {
      const subscription = feed.subscribe("all", from);
      await subscription.next(0);
      subscriptions.push(subscription);
    };
    for (let i = 0; i < 10; i++) {
      // One is behind by much, one by little, one was live.
      for (const from of [0n, feed.position / 2n, feed.position]) await stall(from);
      await add(2_000);
    }
    await until(() => feed.position === 20_000n, { what: "the feed" });
    expect(made.length).toBeGreaterThanOrEqual(20_000);
    collectGarbage();
    // The recent records, at most twice 2,000, and what each subscriber has in hand.
    const kept = made.filter((record) => record.deref() !== undefined).length;
    expect(kept).toBeLessThan(4_000 + subscriptions.length * 256);
    const last = subscriptions.at(-1)!;
    const start = last.position;
    expect(await drain(last, 20_000n)).toHaveLength(Number(20_000n - start));
  });
});

test("a disposed feed stops following the log", async () => {
  const log = memoryLog();
  let feed: Feed;
  {
    await using open = await openFeed(log, logger);
    feed = open;
  }
  await createAppender(log).append({ id: newId() });
  expect(feed.position).toBe(0n);
});
