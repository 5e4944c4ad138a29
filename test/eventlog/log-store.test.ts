import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import type { LogStore, PublishOutcome } from "../../src/eventlog/log-store.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { chainHash, type EventRecord, genesisHash } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";

/** A new log for one test. */
interface Fixture {
  readonly store: LogStore;
  readonly log: EventLog;
}

/** What every store must do; `open` gives a log that is empty or has events of other tests in other aggregates. */
function testLog(open: () => Fixture): void {
  const runId = () => `run_${randomUUID()}`;
  const collect = async (records: AsyncIterable<EventRecord>) => {
    const found: EventRecord[] = [];
    for await (const record of records) found.push(record);
    return found;
  };
  const positions = (records: readonly { position: bigint }[]) => records.map(({ position }) => position);

  /** The log with a store whose first publications go as `fault` says. */
  function withFault({ store, log }: Fixture, fault: (publish: LogStore["publish"]) => LogStore["publish"]): EventLog {
    return createEventLog({ ...store, publish: fault((publication) => store.publish(publication)) }, log.subjects);
  }

  const noAnswer: PublishOutcome = { status: "unknown", cause: new Error("no answer") };

  test("appends an aggregate's events in order and chains their hashes", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const stream = { id: runId() };
    const appended = [await appender.append(stream), await appender.append(stream), await appender.append(stream)];
    const found = await collect(log.read(appended[0]!.subject, 0n, (await log.bounds()).head));
    expect(positions(found)).toEqual(positions(appended));
    expect(found.map(({ event }) => event.streamSequence)).toEqual([1n, 2n, 3n]);
    let hash = genesisHash;
    for (const record of found) {
      expect(Buffer.from(record.prevHash)).toEqual(Buffer.from(hash));
      hash = chainHash(record.prevHash, record.body);
      expect(Buffer.from(record.hash)).toEqual(Buffer.from(hash));
    }
  });

  test("the tail brings what the same log appended as the record it has, decoded once", async () => {
    const { log } = open();
    const before = (await log.bounds()).head;
    const appended = await createAppender(log).append({ id: runId() });
    const stop = new AbortController();
    for await (const record of log.tail(before, stop.signal)) {
      expect(record).toEqual(appended);
      expect(record.event).toBe(appended.event);
      break;
    }
    stop.abort();
  });

  test("the tail believes the store where that has something else at the position of what was appended", async () => {
    const fixture = open();
    const before = (await fixture.log.bounds()).head;
    const other = await createAppender(fixture.log).append({ id: runId() });
    const stored: PublishOutcome = { status: "stored", position: other.position };
    const log = withFault(fixture, () => async () => stored);
    await createAppender(log).append({ id: runId() });
    const stop = new AbortController();
    for await (const { hash } of log.tail(before, stop.signal)) {
      expect(Buffer.from(hash)).toEqual(Buffer.from(other.hash));
      break;
    }
    stop.abort();
  });

  test("gives back the very bytes that were appended", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const publication = appender.publication({ id: runId() });
    const record = await log.append(publication);
    const found = await log.last(publication.subject);
    expect(found).toMatchObject({ position: record?.position, subject: publication.subject });
    expect(Buffer.from(found!.body)).toEqual(Buffer.from(publication.body));
    expect(Buffer.from(found!.wire)).toEqual(Buffer.from(record!.wire));
  });

  test("refuses an event that does not follow on the aggregate's newest one", async () => {
    const { log } = open();
    const stream = { id: runId() };
    const [first, second] = [createAppender(log), createAppender(log)];
    await first.append(stream);
    const late = second.publication(stream);
    expect(await log.append(late)).toBeUndefined();
    expect(await collect(log.read(late.subject, 0n, (await log.bounds()).head))).toHaveLength(1);
  });

  test("lets one of many simultaneous writers in", async () => {
    const { log } = open();
    const stream = { id: runId() };
    const results = await Promise.all(
      Array.from({ length: 20 }, () => log.append(createAppender(log).publication(stream))),
    );
    expect(results.filter((record) => record !== undefined)).toHaveLength(1);
  });

  test("refuses to create in another room what exists in one", async () => {
    const { log } = open();
    const id = runId();
    const create = (roomId: string) => ({
      ...createAppender(log).publication({ id, roomId }),
      filter: log.subjects.anyRoom({ workspaceId: "ws_test", type: "run", id }),
    });
    const [a, b] = await Promise.all([log.append(create("room_a")), log.append(create("room_b"))]);
    expect([a, b].filter((record) => record !== undefined)).toHaveLength(1);
    expect(await log.append(create("room_c"))).toBeUndefined();
  });

  test("finds its own event when the answer was lost", async () => {
    const fixture = open();
    let dropped = 0;
    const log = withFault(fixture, (publish) => async (publication) => {
      const outcome = await publish(publication);
      return dropped++ === 0 ? noAnswer : outcome;
    });
    const publication = createAppender(log).publication({ id: runId() });
    const record = await log.append(publication);
    expect(await collect(log.read(publication.subject, 0n, record!.position))).toHaveLength(1);
    expect(dropped).toBe(1);
  });

  test("writes again what was lost on its way", async () => {
    const fixture = open();
    let lost = 0;
    const log = withFault(
      fixture,
      (publish) => (publication) => (lost++ === 0 ? Promise.resolve(noAnswer) : publish(publication)),
    );
    const publication = createAppender(log).publication({ id: runId() });
    expect(await log.append(publication)).toBeDefined();
    expect(await collect(log.read(publication.subject, 0n, (await log.bounds()).head))).toHaveLength(1);
  });

  test("stores one copy of a message that arrives after it was sent again", async () => {
    const fixture = open();
    let tries = 0;
    const log = withFault(fixture, (publish) => async (publication) => {
      if (tries++ === 0) return noAnswer;
      // The first one arrives just before the second.
      await publish(publication);
      return publish(publication);
    });
    const publication = createAppender(log).publication({ id: runId() });
    const record = await log.append(publication);
    expect(Buffer.from(record!.hash)).toEqual(Buffer.from(publication.hash));
    expect(await collect(log.read(publication.subject, 0n, (await log.bounds()).head))).toHaveLength(1);
  });

  test("knows its own event when it is appended a second time", async () => {
    const { log } = open();
    const publication = createAppender(log).publication({ id: runId() });
    const first = await log.append(publication);
    const second = await log.append(publication);
    expect(second?.position).toBe(first?.position);
  });

  test("takes the event of somebody else for a conflict when its own is lost", async () => {
    const fixture = open();
    const stream = { id: runId() };
    const log = withFault(fixture, (publish) => async () => {
      await publish(createAppender(fixture.log).publication(stream));
      return noAnswer;
    });
    expect(await log.append(createAppender(log).publication(stream))).toBeUndefined();
  });

  test("says STORE_UNAVAILABLE when no answer comes again and again", async () => {
    const log = withFault(open(), () => async () => noAnswer);
    const publication = createAppender(log).publication({ id: runId() });
    await expect(log.append(publication)).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  });

  test("finds the newest event, the next one, and the bounds", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const stream = { id: runId() };
    const { subjects } = log;
    const filter = subjects.anyRoom({ workspaceId: "ws_test", type: "run", id: stream.id });
    expect(await log.last(filter)).toBeUndefined();
    expect(await log.next(filter, 0n)).toBeUndefined();
    const a = await appender.append(stream);
    await appender.append({ id: runId() });
    const b = await appender.append(stream);
    expect((await log.last(filter))?.position).toBe(b.position);
    expect((await log.next(filter, 0n))?.position).toBe(a.position);
    expect((await log.next(filter, a.position))?.position).toBe(b.position);
    expect(await log.next(filter, b.position)).toBeUndefined();
    expect(await log.bounds()).toEqual({ earliest: 1n, head: b.position });
  });

  test("reads a view between two positions", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const roomId = `room_${randomUUID()}`;
    const appended: EventRecord[] = [];
    for (let i = 0; i < 6; i++) appended.push(await appender.append({ id: runId(), roomId: i % 2 ? roomId : "" }));
    const filter = log.subjects.view({ workspaceId: "ws_test", roomId });
    const [, second, , fourth, , sixth] = positions(appended);
    expect(positions(await collect(log.read(filter, 0n, sixth!)))).toEqual([second, fourth, sixth]);
    expect(positions(await collect(log.read(filter, second!, fourth!)))).toEqual([fourth]);
    expect(await collect(log.read(filter, sixth!, sixth! + 10n))).toEqual([]);
  });

  test("reads more than one batch completely", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const from = (await log.bounds()).head;
    const ids = Array.from({ length: 600 }, runId);
    for (let i = 0; i < ids.length; i += 50) {
      await Promise.all(ids.slice(i, i + 50).map((id) => appender.append({ id })));
    }
    const { head } = await log.bounds();
    const found = positions(await collect(log.read(log.subjects.all, from, head)));
    expect(found).toEqual(Array.from({ length: Number(head - from) }, (_, i) => from + 1n + BigInt(i)));
  });

  test("tails the log without gap while it grows", async () => {
    const { log } = open();
    const appender = createAppender(log);
    const from = (await log.bounds()).head;
    const stop = new AbortController();
    const seen: bigint[] = [];
    const tailing = (async () => {
      for await (const { position } of log.tail(from, stop.signal)) if (seen.push(position) === 60) stop.abort();
    })();
    for (let i = 0; i < 60; i += 10) {
      await Promise.all(Array.from({ length: 10 }, () => appender.append({ id: runId() })));
    }
    await tailing;
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => from + 1n + BigInt(i)));
  });
}

describe("a log in memory", () => {
  testLog(() => {
    const store = createMemoryStore();
    return { store, log: createEventLog(store, createSubjects()) };
  });
});

describe("a log in memory with a replica that lags", () => {
  let asked = 0;
  testLog(() => {
    const store = createMemoryStore({ replicaLag: () => asked++ % 5 });
    return { store, log: createEventLog(store, createSubjects()) };
  });
});

describe("a log in JetStream", () => {
  let backend: TestBackend;
  beforeAll(async () => {
    backend = await openTestBackend();
  });
  afterAll(() => backend?.[Symbol.asyncDispose]());
  testLog(() => backend);
});
