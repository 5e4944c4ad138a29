import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { CatchUp, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import { archiveSchedule } from "../../src/schedules/decider.ts";
import { type Outcome, planFiring, recordFiring } from "../../src/schedules/firing.ts";
import type { ScheduleState } from "../../src/schedules/state.ts";
import { absent, after, at, change, created, scheduleId, scheduleOf } from "./schedules.ts";

const run: Outcome = { runId: "run_1" };

/** Plans and records until nothing is due. Returns what was dealt with, in order, and the state then. */
function catchUp(before: ScheduleState, now: Date) {
  let state = before;
  const firings: { time: string; fires: boolean; skipped: number }[] = [];
  for (;;) {
    const firing = planFiring(state, now);
    if (firing === undefined) return { firings, state };
    firings.push({ time: firing.time.toISOString().slice(11, 19), fires: firing.fires, skipped: firing.skipped });
    state = after(state, recordFiring(state, firing, firing.fires ? run : undefined), now);
  }
}

function planned(state: ScheduleState, now: Date) {
  const firing = planFiring(state, now);
  if (firing === undefined) throw new Error("nothing is due");
  return firing;
}

describe("nothing is due", () => {
  test.each([
    { what: "before the time", state: created(), now: at("00:59:59.999") },
    { what: "of an absent schedule", state: absent, now: at("05:00:00") },
    {
      what: "of a paused schedule",
      state: after(created(), change(created(), ["status"], { status: ScheduleStatus.PAUSED })),
      now: at("05:00:00"),
    },
    {
      what: "of an archived schedule",
      state: after(created(), archiveSchedule(created(), scheduleId)),
      now: at("05:00:00"),
    },
  ])("$what", ({ state, now }) => {
    expect(planFiring(state, now)).toBeUndefined();
  });
});

test("a time that has come fires once", () => {
  const { firings, state } = catchUp(created(), at("01:00:00"));
  expect(firings).toEqual([{ time: "01:00:00", fires: true, skipped: 0 }]);
  expect(scheduleOf(state)).toMatchObject({ lastRunId: "run_1", lastError: "" });
  expect(scheduleOf(state).lastTime).toEqual(timestampFromDate(at("01:00:00")));
  expect(scheduleOf(state).nextTime).toEqual(timestampFromDate(at("02:00:00")));
});

test("a firing moves neither etag nor update_time", () => {
  const before = scheduleOf(created());
  const { etag, updateTime, position } = scheduleOf(catchUp(created(), at("01:00:00")).state);
  expect({ etag, updateTime }).toEqual({ etag: before.etag, updateTime: before.updateTime });
  expect(position).toBe(20n);
});

describe("of several times that have passed", () => {
  test("CATCH_UP_LATEST fires the newest", () => {
    const { firings, state } = catchUp(created({ catchUp: CatchUp.LATEST }), at("04:30:00"));
    expect(firings).toEqual([{ time: "04:00:00", fires: true, skipped: 3 }]);
    expect(scheduleOf(state).nextTime).toEqual(timestampFromDate(at("05:00:00")));
  });

  test("CATCH_UP_SKIP fires none", () => {
    const { firings, state } = catchUp(created({ catchUp: CatchUp.SKIP }), at("04:30:00"));
    expect(firings).toEqual([{ time: "04:00:00", fires: false, skipped: 3 }]);
    expect(scheduleOf(state).lastTime).toBeUndefined();
    expect(scheduleOf(state).nextTime).toEqual(timestampFromDate(at("05:00:00")));
  });

  test("CATCH_UP_SKIP fires those that are less than a minute old", () => {
    const state = created({ catchUp: CatchUp.SKIP, cron: "*/20 * * * * *" });
    expect(catchUp(state, at("04:00:10")).firings).toEqual([
      { time: "03:59:20", fires: true, skipped: 717 },
      { time: "03:59:40", fires: true, skipped: 0 },
      { time: "04:00:00", fires: true, skipped: 0 },
    ]);
  });

  test("CATCH_UP_ALL fires all, oldest first", () => {
    expect(catchUp(created({ catchUp: CatchUp.ALL }), at("03:30:00")).firings).toEqual(
      ["01:00:00", "02:00:00", "03:00:00"].map((time) => ({ time, fires: true, skipped: 0 })),
    );
  });

  test("CATCH_UP_ALL fires the newest 100 of many", () => {
    const { firings } = catchUp(created({ catchUp: CatchUp.ALL, cron: "* * * * *" }), at("03:20:00"));
    expect(firings).toHaveLength(100);
    expect(firings[0]).toEqual({ time: "01:41:00", fires: true, skipped: 100 });
    expect(firings.at(-1)).toEqual({ time: "03:20:00", fires: true, skipped: 0 });
  });
});

describe("of tens of thousands of times, a piece at a time,", () => {
  // Every second since midnight: 36,000.
  const now = at("10:00:00");

  test.each([
    { policy: CatchUp.SKIP, name: "SKIP", fired: 60 },
    { policy: CatchUp.LATEST, name: "LATEST", fired: 1 },
    { policy: CatchUp.ALL, name: "ALL", fired: 100 },
  ])("CATCH_UP_$name passes over none without counting it", ({ policy, fired }) => {
    const { firings, state } = catchUp(created({ catchUp: policy, cron: "* * * * * *" }), now);
    expect(firings.filter(({ fires }) => fires)).toHaveLength(fired);
    expect(firings.length).toBeLessThan(fired + 40);
    // More at once would keep everybody else waiting.
    expect(Math.max(...firings.map(({ skipped }) => skipped))).toBeLessThan(1_000);
    expect(firings.reduce((sum, { skipped }) => sum + skipped + 1, 0)).toBe(36_000);
    expect(timestampDate(scheduleOf(state).nextTime!)).toEqual(at("10:00:01"));
  });
});

describe("recordFiring", () => {
  test("records nothing the second time", () => {
    const firing = planned(created(), at("01:00:00"));
    const state = after(created(), recordFiring(created(), firing, run));
    expect(recordFiring(state, firing, run)).toBeUndefined();
    expect(recordFiring(state, firing, undefined)).toBeUndefined();
  });

  test("keeps why there is no run until there is one again", () => {
    const failed = after(created(), recordFiring(created(), planned(created(), at("01:00:00")), { error: "no agent" }));
    expect(scheduleOf(failed)).toMatchObject({ lastRunId: "", lastError: "no agent" });
    expect(scheduleOf(failed).nextTime).toEqual(timestampFromDate(at("02:00:00")));
    const next = after(failed, recordFiring(failed, planned(failed, at("02:00:00")), run));
    expect(scheduleOf(next)).toMatchObject({ lastRunId: "run_1", lastError: "" });
  });

  test("records the run when the schedule was paused meanwhile, and leaves it paused", () => {
    const firing = planned(created(), at("01:00:00"));
    const paused = after(created(), change(created(), ["status"], { status: ScheduleStatus.PAUSED }));
    const state = after(paused, recordFiring(paused, firing, run));
    expect(scheduleOf(state)).toMatchObject({ lastRunId: "run_1", nextTime: undefined, status: ScheduleStatus.PAUSED });
    expect(recordFiring(state, firing, run)).toBeUndefined();
  });

  test("records nothing but a run when the clock was changed meanwhile", () => {
    const firing = planned(created(), at("01:00:00"));
    const changed = after(created(), change(created(), ["cron"], { cron: "30 * * * *" }, at("01:00:01")));
    expect(recordFiring(changed, firing, undefined)).toBeUndefined();
    expect(scheduleOf(after(changed, recordFiring(changed, firing, run))).nextTime).toEqual(
      timestampFromDate(at("01:30:00")),
    );
  });

  test("records nothing for a schedule that was archived meanwhile", () => {
    const firing = planned(created(), at("01:00:00"));
    const archived = after(created(), archiveSchedule(created(), scheduleId));
    expect(recordFiring(archived, firing, run)).toBeUndefined();
  });
});
