import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Applicant, createAdmission } from "../../src/queues/admission.ts";
import type { QueueLimits } from "../../src/queues/limits.ts";

const unlimited: QueueLimits = { held: false, maxRunning: 0, maxRunningPerKey: 0, rate: undefined };
const ws = "ws_one";

function applicant(runId: string, fields: Partial<Applicant> = {}): Applicant {
  return {
    workspaceId: ws,
    runId,
    queue: "q",
    agentId: "",
    concurrencyKey: "",
    priority: 0,
    createTimeMs: 0,
    begun: false,
    ...fields,
  };
}

/** An admission with limits on queue `q`, and the runs r1, r2 … in line. */
function withLine(limits: Partial<QueueLimits>, runs: readonly Partial<Applicant>[]) {
  const admission = createAdmission<Applicant>();
  admission.setQueue(ws, "q", { ...unlimited, ...limits });
  for (const [index, fields] of runs.entries()) {
    admission.enter(applicant(`r${index + 1}`, { createTimeMs: index, ...fields }), 1n);
  }
  return admission;
}

type Admission = ReturnType<typeof withLine>;
const admitted = (admission: Admission, nowMs = 0) => admission.admit(nowMs).admitted.map(({ runId }) => runId);

describe("a limit on runs under way", () => {
  test("lets so many through, the highest priority first, then the oldest", () => {
    const admission = withLine({ maxRunning: 2 }, [{}, { priority: 5 }, {}, { priority: 5 }]);
    expect(admitted(admission)).toEqual(["r2", "r4"]);
    admission.leave(ws, "r4", 2n);
    expect(admitted(admission)).toEqual(["r1"]);
    expect(admission.waiting()).toBe(1);
  });

  test("counts a run that a worker has taken, offered or not", () => {
    const admission = withLine({ maxRunning: 1 }, [{}, {}]);
    admission.claimed(ws, "r2", 2n, 0);
    expect(admitted(admission)).toEqual([]);
    admission.leave(ws, "r2", 3n);
    expect(admitted(admission)).toEqual(["r1"]);
  });

  test("holds per key beside the queue's own", () => {
    const admission = withLine({ maxRunning: 3, maxRunningPerKey: 1 }, [
      { concurrencyKey: "a" },
      { concurrencyKey: "a" },
      { concurrencyKey: "b" },
      {},
      {},
    ]);
    expect(admitted(admission)).toEqual(["r1", "r3", "r4"]);
    admission.leave(ws, "r1", 2n);
    expect(admitted(admission)).toEqual(["r2"]);
  });

  test("holds per agent in whatever queue", () => {
    const admission = createAdmission<Applicant>();
    expect(admission.setAgent(ws, "agt_1", 1)).toBe(true);
    expect(admission.setAgent(ws, "agt_1", 1)).toBe(false);
    const [first, second] = [applicant("r1", { agentId: "agt_1" }), applicant("r2", { agentId: "agt_1", queue: "p" })];
    expect(admission.limits(first)).toBe(true);
    expect(admission.limits(applicant("r3"))).toBe(false);
    admission.enter(first, 1n);
    admission.enter(second, 1n);
    expect(admitted(admission)).toEqual(["r1"]);
    admission.leave(ws, "r1", 2n);
    expect(admitted(admission)).toEqual(["r2"]);
  });

  test("of another workspace is another limit", () => {
    const admission = withLine({ maxRunning: 1 }, [{}]);
    expect(admission.limits(applicant("x", { workspaceId: "ws_two" }))).toBe(false);
  });
});

test("a held queue lets through what has begun and nothing else", () => {
  const admission = withLine({ held: true }, [{}, { begun: true }]);
  expect(admitted(admission)).toEqual(["r2"]);
});

describe("a rate limit", () => {
  const rate = { runs: 2, periodMs: 1_000 };

  test("counts those who may begin at any moment, and then those who have begun", () => {
    const admission = withLine({ rate }, [{}, {}, {}, {}]);
    expect(admitted(admission)).toEqual(["r1", "r2"]);
    // However late the workers come: nothing more until they do.
    expect(admission.admit(60_000)).toEqual({ admitted: [], nextMs: undefined });
    admission.claimed(ws, "r1", 2n, 60_000);
    admission.claimed(ws, "r2", 2n, 60_400);
    admission.leave(ws, "r1", 3n);
    expect(admission.admit(60_500)).toEqual({ admitted: [], nextMs: 61_000 });
    expect(admitted(admission, 61_000)).toEqual(["r3"]);
    expect(admitted(admission, 61_399)).toEqual([]);
    expect(admitted(admission, 61_400)).toEqual(["r4"]);
  });

  test("has room again when one that was let through goes before it has begun", () => {
    const admission = withLine({ rate }, [{}, {}, {}]);
    expect(admitted(admission)).toEqual(["r1", "r2"]);
    admission.leave(ws, "r2", 2n);
    expect(admitted(admission)).toEqual(["r3"]);
  });

  test("is no matter of those who have begun before", () => {
    const admission = withLine({ rate: { runs: 1, periodMs: 1_000 } }, [{}, { begun: true }, { begun: true }]);
    expect(admitted(admission).toSorted()).toEqual(["r1", "r2", "r3"]);
  });

  test("knows what began before it was asked", () => {
    const admission = withLine({ rate }, [{}, {}]);
    admission.began(ws, "q", [100, 200]);
    expect(admission.admit(1_050)).toEqual({ admitted: [], nextMs: 1_100 });
    expect(admitted(admission, 1_100)).toEqual(["r1"]);
  });
});

test("an older word about a run counts for nothing", () => {
  const admission = withLine({ maxRunning: 1 }, []);
  admission.occupy(applicant("r1"), 10n);
  admission.leave(ws, "r1", 9n);
  admission.leave(ws, "r1", 10n);
  admission.enter(applicant("r2"), 11n);
  expect(admitted(admission)).toEqual([]);
  expect(admission.known(ws)).toEqual([
    { runId: "r1", position: 10n },
    { runId: "r2", position: 11n },
  ]);
  admission.leave(ws, "r1", 12n);
  expect(admitted(admission)).toEqual(["r2"]);
});

test("what was forgotten gives its places back and names those who stood in line", () => {
  const admission = withLine({ maxRunning: 1 }, [{}, {}]);
  expect(admitted(admission)).toEqual(["r1"]);
  expect(admission.forget(ws).map(({ runId }) => runId)).toEqual(["r2"]);
  expect(admission.waiting()).toBe(0);
  expect(admission.hasRoom(applicant("r3"), 0)).toBe(true);
  admission.enter(applicant("r3"), 1n);
  expect(admitted(admission)).toEqual(["r3"]);
});

/** What may happen to some run. */
const step = fc.record({
  run: fc.integer({ min: 0, max: 11 }),
  what: fc.constantFrom("enter", "claimed", "leave", "wait"),
  queue: fc.constantFrom("q", "p"),
  key: fc.constantFrom("", "a", "b"),
  agent: fc.constantFrom("", "agt_1"),
  priority: fc.integer({ min: 0, max: 2 }),
});

test("whatever happens in whatever order, no limit is passed and no place is left empty while somebody could take it", () => {
  const limits = { ...unlimited, maxRunning: 3, maxRunningPerKey: 2, rate: { runs: 4, periodMs: 100 } };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const admission = createAdmission<Applicant>();
      admission.setQueue(ws, "q", limits);
      admission.setAgent(ws, "agt_1", 2);
      const inLine = new Map<string, Applicant>();
      const underWay = new Map<string, Applicant>();
      const begun = new Map<string, number>();
      let nowMs = 0;
      let position = 0n;

      const count = (of: (run: Applicant) => boolean) => [...underWay.values()].filter(of).length;
      const inQueue = (run: Applicant) => run.queue === "q";
      /** Beginnings of the last period, and those that may come any moment. */
      const beginnings = () =>
        count((run) => inQueue(run) && !run.begun && !begun.has(run.runId)) +
        [...begun].filter(([, time]) => time > nowMs - 100).length;
      const fits = (run: Applicant) =>
        (!inQueue(run) || count(inQueue) < 3) &&
        (!inQueue(run) ||
          run.concurrencyKey === "" ||
          count((other) => inQueue(other) && other.concurrencyKey === run.concurrencyKey) < 2) &&
        (run.agentId === "" || count(({ agentId }) => agentId === "agt_1") < 2) &&
        (!inQueue(run) || run.begun || beginnings() < 4);

      for (const [index, { run: number, what, queue, key, agent, priority }] of steps.entries()) {
        const runId = `${number}`;
        position++;
        nowMs += 5;
        if (what === "enter" && !inLine.has(runId) && !underWay.has(runId)) {
          const run = applicant(runId, { queue, concurrencyKey: key, agentId: agent, priority, createTimeMs: index });
          if (!admission.limits(run)) continue;
          admission.enter(run, position);
          inLine.set(runId, run);
        }
        if (what === "claimed" && underWay.has(runId) && !begun.has(runId)) {
          admission.claimed(ws, runId, position, nowMs);
          if (inQueue(underWay.get(runId)!)) begun.set(runId, nowMs);
        }
        if (what === "leave" && (inLine.has(runId) || underWay.has(runId))) {
          admission.leave(ws, runId, position);
          inLine.delete(runId);
          underWay.delete(runId);
          // It comes back as another run.
          const time = begun.get(runId);
          begun.delete(runId);
          if (time !== undefined) begun.set(`${runId} of ${index}`, time);
        }
        if (what === "wait") nowMs += 60;
        for (const run of admission.admit(nowMs).admitted) {
          expect(fits(run)).toBe(true);
          inLine.delete(run.runId);
          underWay.set(run.runId, run);
        }
        expect([...inLine.values()].filter(fits)).toEqual([]);
        expect(admission.waiting()).toBe(inLine.size);
      }
    }),
  );
});
