import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { type Run, RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import { CatchUp, ScheduleSchema, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import {
  TriggerScheduleRequestSchema,
  UpdateScheduleRequestSchema,
} from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Call } from "../../src/kernel/call.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import type { ScheduledRuns } from "../../src/schedules/scheduled-runs.ts";
import { createSchedules } from "../../src/schedules/schedules.ts";
import { at, callTo, creating } from "./schedules.ts";

/** Runs in memory, repeatable as CreateRun is. `refuse` may throw before a run is created, `lose` after. */
function fakeRuns() {
  const created: { call: Call; request: CreateRunRequest; run: Run }[] = [];
  const faults: { refuse?: () => void; lose?: () => void } = {};
  const find = (requestId: string) =>
    created.find(({ request }) => request.requestId === requestId && requestId !== "");
  const runs: ScheduledRuns = {
    async create(call, request) {
      const before = find(request.requestId);
      if (before !== undefined && before.request.handler !== request.handler) {
        throw new SignalboxError("REQUEST_ID_REUSED", "used", { run_id: before.run.runId });
      }
      faults.refuse?.();
      const run = before?.run ?? create(RunSchema, { runId: `run_${created.length + 1}`, labels: request.labels });
      if (before === undefined) created.push({ call, request, run });
      faults.lose?.();
      return { run, position: 1n };
    },
    createdBy: async (_workspaceId, requestId) => find(requestId)?.run,
  };
  return { runs, created, faults };
}

/** Schedules on a log in memory, at a time that the test sets. */
function setUp() {
  const fake = fakeRuns();
  const time = { now: at("00:00:00") };
  const log = createEventLog(createMemoryStore(), createSubjects());
  const schedules = createSchedules({
    log,
    clock: { now: () => time.now },
    ids: randomIds,
    runs: fake.runs,
    db: {} as Db,
    positions: { reach: async () => undefined },
    limits: { maxInputBytes: 1000, maxOutputBytes: 1000 },
  });
  const { signal } = new AbortController();
  const fire = (scheduleId: string, now: Date) => {
    time.now = now;
    return schedules.fire("ws_one", scheduleId, signal);
  };
  const update = (scheduleId: string, fields: { status?: ScheduleStatus; handler?: string }) => {
    const schedule = create(ScheduleSchema, {
      scheduleId,
      ...(fields.status && { status: fields.status }),
      run: { handler: fields.handler ?? "" },
    });
    const paths = fields.status === undefined ? ["run"] : ["status"];
    return schedules.update(callTo(), create(UpdateScheduleRequestSchema, { schedule, updateMask: { paths } }));
  };
  const trigger = (scheduleId: string, requestId = "", call = callTo()) =>
    schedules.trigger(call, create(TriggerScheduleRequestSchema, { scheduleId, requestId }));
  return { schedules, ...fake, log, fire, update, trigger };
}

const reason = (name: string): unknown => expect.objectContaining({ reason: name });

describe("creating", () => {
  test("answers a repeat with the same schedule, however its labels are ordered, and records one event", async () => {
    const { schedules, log } = setUp();
    const request = (labels: Record<string, string>) =>
      creating({ requestId: "r1", run: { handler: "inspect", labels } });
    const first = await schedules.create(callTo(), request({ a: "1", b: "2" }));
    expect(first.schedule.scheduleId).toMatch(/^sch_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    expect(await schedules.create(callTo(), request({ b: "2", a: "1" }))).toEqual(first);
    expect((await log.bounds()).head).toBe(1n);
  });

  test("refuses a repeat with another body", async () => {
    const { schedules } = setUp();
    await schedules.create(callTo(), creating({ requestId: "r1" }));
    const other = schedules.create(callTo(), creating({ requestId: "r1", name: "Tock" }));
    await expect(other).rejects.toThrow(reason("REQUEST_ID_REUSED"));
  });

  test("refuses an input that no run could have", async () => {
    const { schedules } = setUp();
    const input = { kind: { case: "stringValue" as const, value: "x".repeat(2000) } };
    const large = schedules.create(callTo(), creating({ run: { handler: "inspect", input } }));
    await expect(large).rejects.toThrow(reason("PAYLOAD_TOO_LARGE"));
  });

  test("keeps workspaces apart", async () => {
    const { schedules, trigger } = setUp();
    const { scheduleId } = (await schedules.create(callTo("ws_two"), creating())).schedule;
    await expect(schedules.get(callTo(), scheduleId)).rejects.toThrow(reason("SCHEDULE_NOT_FOUND"));
    await expect(schedules.archive(callTo(), scheduleId)).rejects.toThrow(reason("SCHEDULE_NOT_FOUND"));
    await expect(trigger(scheduleId)).rejects.toThrow(reason("SCHEDULE_NOT_FOUND"));
  });
});

describe("firing", () => {
  test("creates one run for a time that has come, on behalf of the creator", async () => {
    const { schedules, created, fire } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    await fire(scheduleId, at("00:59:59"));
    expect(created).toEqual([]);
    await fire(scheduleId, at("01:00:00"));
    await fire(scheduleId, at("01:00:00"));
    expect(created).toMatchObject([
      {
        request: {
          requestId: `schedule/${scheduleId}/2026-05-04T01:00:00.000Z`,
          handler: "inspect",
          labels: { schedule: scheduleId },
        },
        call: {
          workspaceId: "ws_one",
          principal: { type: PrincipalType.SERVICE, id: "signalbox", onBehalfOf: [{ id: "user_1" }] },
        },
      },
    ]);
    expect(await schedules.get(callTo(), scheduleId)).toMatchObject({
      lastRunId: "run_1",
      nextTime: timestampFromDate(at("02:00:00")),
    });
  });

  test("repeats a firing that was cut off after the run was created, and gives the same run", async () => {
    const { schedules, created, faults, fire } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    faults.lose = () => {
      throw new SignalboxError("STORE_UNAVAILABLE", "gone");
    };
    await expect(fire(scheduleId, at("01:00:00"))).rejects.toThrow(reason("STORE_UNAVAILABLE"));
    delete faults.lose;
    await fire(scheduleId, at("01:00:05"));
    expect(created).toHaveLength(1);
    expect(await schedules.get(callTo(), scheduleId)).toMatchObject({ lastRunId: "run_1", lastError: "" });
  });

  test("finds that run also when the schedule's run was changed in between", async () => {
    const { schedules, created, faults, fire, update } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    faults.lose = () => {
      throw new Error("crashed");
    };
    await expect(fire(scheduleId, at("01:00:00"))).rejects.toThrow("crashed");
    delete faults.lose;
    await update(scheduleId, { handler: "other" });
    await fire(scheduleId, at("01:00:05"));
    expect(created).toHaveLength(1);
    expect(await schedules.get(callTo(), scheduleId)).toMatchObject({ lastRunId: "run_1", lastError: "" });
  });

  test("records why a run could not be created, and goes on", async () => {
    const { schedules, created, faults, fire } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    faults.refuse = () => {
      throw new SignalboxError("INVALID_STATE", "agent agt_1 is ARCHIVED and takes no new runs");
    };
    await fire(scheduleId, at("01:00:00"));
    expect(await schedules.get(callTo(), scheduleId)).toMatchObject({
      lastError: "INVALID_STATE: agent agt_1 is ARCHIVED and takes no new runs",
      lastRunId: "",
    });
    delete faults.refuse;
    await fire(scheduleId, at("02:00:00"));
    expect(created).toHaveLength(1);
    expect(await schedules.get(callTo(), scheduleId)).toMatchObject({ lastError: "", lastRunId: "run_1" });
  });

  test("by two processes at the same time gives one run and one event", async () => {
    const { schedules, created, log, fire } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    await Promise.all([fire(scheduleId, at("01:00:00")), fire(scheduleId, at("01:00:00"))]);
    expect(created).toHaveLength(1);
    expect((await log.bounds()).head).toBe(2n);
  });

  test("leaves paused and archived schedules alone", async () => {
    const { schedules, created, fire, update } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating({ catchUp: CatchUp.ALL }))).schedule;
    await update(scheduleId, { status: ScheduleStatus.PAUSED });
    await fire(scheduleId, at("05:00:00"));
    await update(scheduleId, { status: ScheduleStatus.ACTIVE });
    await fire(scheduleId, at("05:00:00"));
    await schedules.archive(callTo(), scheduleId);
    await fire(scheduleId, at("09:00:00"));
    expect(created).toEqual([]);
  });
});

describe("triggering", () => {
  test("creates a run as the caller, and leaves the clock alone", async () => {
    const { schedules, created, trigger } = setUp();
    const { schedule } = await schedules.create(callTo(), creating());
    const { run } = await trigger(schedule.scheduleId);
    expect(run.labels).toEqual({ schedule: schedule.scheduleId });
    expect(created[0]?.call.principal).toMatchObject({ type: PrincipalType.USER, id: "user_1" });
    await trigger(schedule.scheduleId);
    expect(created).toHaveLength(2);
    expect(await schedules.get(callTo(), schedule.scheduleId)).toEqual(schedule);
  });

  test("answers a repeat with the first run, whatever has become of the schedule", async () => {
    const { schedules, trigger, update } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    const { run } = await trigger(scheduleId, "r1");
    await update(scheduleId, { handler: "other" });
    expect((await trigger(scheduleId, "r1")).run).toEqual(run);
    await schedules.archive(callTo(), scheduleId);
    expect((await trigger(scheduleId, "r1")).run).toEqual(run);
    await expect(trigger(scheduleId, "r2")).rejects.toThrow(reason("INVALID_STATE"));
  });

  test("refuses a request_id that has triggered another schedule", async () => {
    const { schedules, trigger } = setUp();
    const one = (await schedules.create(callTo(), creating())).schedule;
    const two = (await schedules.create(callTo(), creating())).schedule;
    await trigger(one.scheduleId, "r1");
    await expect(trigger(two.scheduleId, "r1")).rejects.toThrow(reason("REQUEST_ID_REUSED"));
  });

  test("works for a paused schedule", async () => {
    const { schedules, created, trigger, update } = setUp();
    const { scheduleId } = (await schedules.create(callTo(), creating())).schedule;
    await update(scheduleId, { status: ScheduleStatus.PAUSED });
    await trigger(scheduleId);
    expect(created).toHaveLength(1);
  });
});
