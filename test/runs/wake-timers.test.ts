import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { RunSuspendedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { sleep } from "../../src/kernel/wait.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { createWakeTimers } from "../../src/runs/wake-timers.ts";
import { atTime } from "../e2e/waiting.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import { unknown } from "./scenario.ts";

interface Row {
  readonly run_id: string;
  readonly wake_time: Date;
}

/** Timers over a table; `woken` says which runs were commanded to wake, and when. Until `backMs`, no command gets through. */
function setUp(nowMs: () => number, rows: readonly Row[] = [], backMs = 0) {
  const woken: [runId: string, atMs: number][] = [];
  let queries = 0;
  const db = {
    query: async ({ values = [] }: { values?: unknown[] }) => {
      queries++;
      const by = (values[0] as Date).getTime();
      const done = new Set(woken.map(([runId]) => runId));
      const waiting = rows.filter(({ run_id }) => !done.has(run_id));
      const due = waiting.filter(({ wake_time }) => wake_time.getTime() <= by);
      return { rows: due.slice(0, Number(values[1])).map((row) => ({ workspace_id: "ws", ...row })) };
    },
  } as unknown as Db;
  const timers = createWakeTimers({
    db,
    clock: { now: () => new Date(nowMs()) },
    command: async (_workspaceId, runId) => {
      if (nowMs() < backMs) throw new Error("the log is away");
      woken.push([runId, nowMs()]);
      return unknown;
    },
    background: { start: (work, failed) => void work().catch(failed) },
  });
  return { timers, woken, queries: () => queries };
}

function suspended(runId: string, ...timesMs: number[]): EventRecord {
  const value = create(RunSuspendedSchema, { conditions: timesMs.map(atTime) });
  const payload = { case: "runSuspended", value } as const;
  return {
    event: create(EventSchema, { workspaceId: "ws", stream: { type: "run", id: runId }, payload }),
  } as EventRecord;
}

test("a run is woken at the earliest of its times, to the millisecond", async () => {
  await inVirtualTime(async (nowMs) => {
    const { timers, woken } = setUp(nowMs);
    timers.take(suspended("run_1", 700, 300));
    timers.take(suspended("run_2", 250));
    await sleep(1_000);
    expect(woken).toEqual([
      ["run_2", 250],
      ["run_1", 300],
    ]);
  });
});

test("a run that waits anew is woken at its new time only", async () => {
  await inVirtualTime(async (nowMs) => {
    const { timers, woken } = setUp(nowMs);
    timers.take(suspended("run_1", 300));
    timers.take(suspended("run_1", 500));
    await sleep(1_000);
    expect(woken).toEqual([["run_1", 500]]);
  });
});

test("whoever waits for long has no timer until its time is near, and is found in the table then", async () => {
  await inVirtualTime(async (nowMs) => {
    const hourMs = 3_600_000;
    const { timers, woken, queries } = setUp(nowMs, [{ run_id: "run_1", wake_time: new Date(hourMs) }]);
    timers.take(suspended("run_1", hourMs));
    while (nowMs() < hourMs + 1_000) await sleep(Math.min(await timers.sweep(), 5_000));
    expect(woken).toEqual([["run_1", hourMs]]);
    // Once a minute, however many wait.
    expect(queries()).toBeLessThanOrEqual(62);
  });
});

test("a wake-up that failed for good is found in the table by the next sweep", async () => {
  await inVirtualTime(async (nowMs) => {
    const { timers, woken } = setUp(nowMs, [{ run_id: "run_1", wake_time: new Date(300) }], 20_000);
    while (nowMs() < 30_000) {
      await timers.sweep();
      await sleep(5_000);
    }
    expect(woken).toEqual([["run_1", expect.closeTo(22_500, -4)]]);
  });
});

test("more than one look-up can bring are found by the next", async () => {
  await inVirtualTime(async (nowMs) => {
    const rows = Array.from({ length: 6_000 }, (_, n) => ({ run_id: `run_${n}`, wake_time: new Date(n) }));
    const { timers, woken } = setUp(nowMs, rows);
    while (woken.length < rows.length) await sleep(await timers.sweep());
    expect(woken).toEqual(rows.map(({ run_id, wake_time }) => [run_id, wake_time.getTime()]));
  });
});

test("after it was disposed nobody is woken", async () => {
  await inVirtualTime(async (nowMs) => {
    const { timers, woken } = setUp(nowMs);
    timers.take(suspended("run_1", 300));
    timers[Symbol.dispose]();
    await sleep(1_000);
    expect(woken).toEqual([]);
  });
});
