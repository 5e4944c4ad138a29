import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { call, createCounters, open, take } from "./counter.ts";
import { chainProblems } from "./history.ts";

const newId = () => `run_${randomUUID()}`;
const creation = (roomId = "") => ({ roomId, repeatable: true });

async function eventsOf(log: EventLog, id: string): Promise<EventRecord[]> {
  const filter = log.subjects.anyRoom({ workspaceId: "ws_test", type: "run", id });
  return Array.fromAsync(log.read(filter, 0n, (await log.bounds()).head));
}

/** What aggregates do on every log. Two sets of aggregates on one log are two servers. */
function testAggregates(openLog: () => EventLog): void {
  test("a created aggregate is loaded by another server", async () => {
    const log = openLog();
    const id = newId();
    const created = await createCounters(log).execute({ call, id, creation: creation("room_1"), decide: open });
    const loaded = await createCounters(log).load("ws_test", id);
    expect(loaded).toMatchObject({ state: { exists: true }, position: created.position, sequence: 1n });
    expect(created.recorded?.event).toMatchObject({ roomId: "room_1", type: "run.created", streamSequence: 1n });
  });

  test("what was never created is absent", async () => {
    const counters = createCounters(openLog());
    expect(await counters.load("ws_test", newId())).toMatchObject({ state: { exists: false }, position: 0n });
    await expect(counters.execute({ call, id: newId(), decide: take("a") })).rejects.toThrow("absent");
  });

  test("an aggregate of another workspace is absent", async () => {
    const counters = createCounters(openLog());
    const id = newId();
    await counters.execute({ call, id, creation: creation(), decide: open });
    expect(await counters.load("ws_other", id)).toMatchObject({ state: { exists: false } });
  });

  test("a repeated create in whatever room records nothing and answers the first one", async () => {
    const log = openLog();
    const id = newId();
    const first = await createCounters(log).execute({ call, id, creation: creation("room_1"), decide: open });
    const second = await createCounters(log).execute({ call, id, creation: creation("room_2"), decide: open });
    expect(second).toMatchObject({ position: first.position, recorded: undefined });
    expect(await eventsOf(log, id)).toHaveLength(1);
  });

  test("commands of two servers never fork an aggregate", async () => {
    const log = openLog();
    const id = newId();
    const servers = [createCounters(log), createCounters(log)];
    const run = (key: string, index: number) => servers[index % 2]!.execute({ call, id, decide: take(key) });
    await servers[0]!.execute({ call, id, creation: creation(), decide: open });
    const keys = Array.from({ length: 20 }, (_, i) => `key_${i}`);
    await Promise.all(keys.map(run));
    const events = await eventsOf(log, id);
    expect(chainProblems(events)).toEqual([]);
    expect(events).toHaveLength(21);
    for (const server of servers) {
      expect((await server.load("ws_test", id)).state.keys.toSorted()).toEqual(keys.toSorted());
    }
  });

  test("a stale cache does not refuse what has become possible", async () => {
    const log = openLog();
    const id = newId();
    const [stale, other] = [createCounters(log), createCounters(log)];
    // Loading what is absent leaves nothing behind that a later create could not change.
    await stale.load("ws_test", id);
    await other.execute({ call, id, creation: creation(), decide: open });
    expect(await stale.execute({ call, id, decide: take("a") })).toMatchObject({ sequence: 2n });
  });

  test("a stale cache does not refuse by what it believes", async () => {
    const log = openLog();
    const id = newId();
    const [stale, other] = [createCounters(log), createCounters(log)];
    await stale.execute({ call, id, creation: creation(), decide: open });
    await other.execute({ call, id, decide: take("a") });
    const needsA = (state: { keys: readonly string[] }) => {
      if (!state.keys.includes("a")) throw new Error("needs a");
      return undefined;
    };
    expect(await stale.execute({ call, id, decide: needsA })).toMatchObject({ sequence: 2n, recorded: undefined });
  });

  test("a stale cache does not record what another server has made impossible", async () => {
    const log = openLog();
    const id = newId();
    const [stale, other] = [createCounters(log), createCounters(log)];
    await stale.execute({ call, id, creation: creation(), decide: open });
    await other.execute({ call, id, decide: take("close") });
    await expect(stale.execute({ call, id, decide: take("late") })).rejects.toThrow("closed");
    expect((await eventsOf(log, id)).map(({ event }) => event.type)).toEqual(["run.created", "step.started"]);
  });

  test("a stale cache does not say `done already` of what is not there", async () => {
    const log = openLog();
    const id = newId();
    const [stale, other] = [createCounters(log), createCounters(log)];
    await stale.execute({ call, id, creation: creation(), decide: open });
    await other.execute({ call, id, decide: take("a") });
    const onlyWithoutA = (state: { keys: readonly string[] }) =>
      state.keys.includes("a") ? take("b")({ exists: true, keys: [] }) : undefined;
    expect(await stale.execute({ call, id, decide: onlyWithoutA })).toMatchObject({ sequence: 3n });
  });

  test("a writer that always loses is told CONTENTION after a bounded number of tries", async () => {
    const log = openLog();
    const id = newId();
    await createCounters(log).execute({ call, id, creation: creation(), decide: open });
    const rival = createCounters(log);
    let decided = 0;
    const robbed: EventLog = {
      ...log,
      append: async (publication) => {
        await rival.execute({ call, id, decide: take(`rival_${decided}`) });
        return log.append(publication);
      },
    };
    const decide = (state: Parameters<ReturnType<typeof take>>[0]) => {
      decided++;
      return take("mine")(state);
    };
    const losing = createCounters(robbed).execute({ call, id, decide });
    await expect(losing).rejects.toMatchObject({ reason: "CONTENTION" });
    expect(decided).toBe(16);
    const { state } = await rival.load("ws_test", id);
    expect(state.keys).toHaveLength(16);
    expect(state.keys).not.toContain("mine");
  });

  test("commands of one server to one aggregate do not conflict with each other", async () => {
    const log = openLog();
    const id = newId();
    let appended = 0;
    const append: EventLog["append"] = (publication) => {
      appended++;
      return log.append(publication);
    };
    const counted: EventLog = { ...log, append };
    const counters = createCounters(counted);
    await counters.execute({ call, id, creation: creation(), decide: open });
    await Promise.all(Array.from({ length: 10 }, (_, i) => counters.execute({ call, id, decide: take(`${i}`) })));
    expect(appended).toBe(11);
  });

  test("a command after one that was refused is carried out", async () => {
    const counters = createCounters(openLog());
    const id = newId();
    const refused = counters.execute({ call, id, decide: take("a") });
    const created = counters.execute({ call, id, creation: creation(), decide: open });
    await expect(refused).rejects.toThrow("absent");
    expect(await created).toMatchObject({ sequence: 1n });
  });
}

describe("aggregates on a log in memory", () => {
  testAggregates(() => createEventLog(createMemoryStore(), createSubjects()));
});

describe("with a NATS server", () => {
  let backend: TestBackend;
  beforeAll(async () => {
    backend = await openTestBackend();
  });
  afterAll(() => backend?.[Symbol.asyncDispose]());
  describe("aggregates on a log in JetStream", () => {
    testAggregates(() => backend.log);
  });
});
