import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { CatchUp, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import { archiveSchedule, createSchedule } from "../../src/schedules/decider.ts";
import { absent, after, at, change, created, creating, digest, scheduleId, scheduleOf } from "./schedules.ts";

const reason = (name: string): unknown => expect.objectContaining({ reason: name });
const createWith = (fields: Parameters<typeof creating>[0], requestDigest = digest) =>
  createSchedule(absent, { scheduleId, request: creating(fields), requestDigest }, at("00:00:00"));

describe("createSchedule", () => {
  test("records every setting with its default, and the first time after now", () => {
    const schedule = scheduleOf(created());
    expect(schedule).toMatchObject({
      scheduleId,
      workspaceId: "ws_one",
      name: "Tick",
      status: ScheduleStatus.ACTIVE,
      cron: "@hourly",
      timeZone: "UTC",
      catchUp: CatchUp.LATEST,
      run: { handler: "inspect", labels: { schedule: scheduleId } },
      etag: "1",
      position: 10n,
      createBy: { id: "user_1" },
      lastRunId: "",
      lastError: "",
    });
    expect(schedule.nextTime).toEqual(timestampFromDate(at("01:00:00")));
    expect(schedule.updateTime).toEqual(schedule.createTime);
  });

  test("keeps what the request says, in the zone of its runs", () => {
    const fields = {
      cron: "0 9 * * *",
      timeZone: "Europe/Berlin",
      catchUp: CatchUp.ALL,
      run: { handler: "inspect", zone: Zone.HIGH_STAKES, labels: { team: "x", schedule: "mine" } },
    };
    expect(createWith(fields)?.zone).toBe(Zone.HIGH_STAKES);
    expect(scheduleOf(created(fields))).toMatchObject({
      ...fields,
      run: { labels: { team: "x", schedule: scheduleId } },
    });
    expect(scheduleOf(created(fields)).nextTime).toEqual(timestampFromDate(at("07:00:00")));
  });

  test("records nothing the second time", () => {
    const again = { scheduleId, request: creating(), requestDigest: digest };
    expect(createSchedule(created(), again, at("05:00:00"))).toBeUndefined();
  });

  test("refuses a request_id that was used with another body", () => {
    const other = { scheduleId, request: creating({ requestId: "r1" }), requestDigest: new Uint8Array([9]) };
    expect(() => createSchedule(created(), other, at("05:00:00"))).toThrow(reason("REQUEST_ID_REUSED"));
  });

  const labels = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, ""]));

  test.each([
    { what: "no name", fields: { name: "" } },
    { what: "no cron", fields: { cron: "every now and then" } },
    { what: "a day that never comes", fields: { cron: "0 0 30 2 *" } },
    { what: "no zone", fields: { timeZone: "Mars/Olympus" } },
    { what: "no run", fields: { run: undefined } },
    { what: "a request_id for its runs", fields: { run: { handler: "inspect", requestId: "r1" } } },
    { what: "no room for its label", fields: { run: { handler: "inspect", labels: labels(32) } } },
  ])("refuses $what", ({ fields }) => {
    expect(() => createWith(fields)).toThrow(reason("INVALID_REQUEST"));
  });
});

describe("updateSchedule", () => {
  test("takes only the fields that the mask names", () => {
    const state = after(created(), change(created(), ["name"], { name: "Tock", cron: "@daily" }), at("00:30:00"));
    expect(scheduleOf(state)).toMatchObject({ name: "Tock", cron: "@hourly", etag: "2", position: 20n });
    expect(scheduleOf(state).createTime).toEqual(scheduleOf(created()).createTime);
    expect(scheduleOf(state).nextTime).toEqual(scheduleOf(created()).nextTime);
  });

  test("takes every field, and records nothing the second time, even with the etag of the first", () => {
    const paths = ["name", "status", "cron", "time_zone", "catch_up", "run"];
    const fields = {
      name: "Tock",
      status: ScheduleStatus.PAUSED,
      cron: "0 6 * * *",
      timeZone: "Asia/Tokyo",
      catchUp: CatchUp.SKIP,
      run: create(CreateRunRequestSchema, { handler: "other" }),
      etag: "1",
    };
    const state = after(created(), change(created(), paths, fields));
    expect(scheduleOf(state)).toMatchObject({
      ...fields,
      run: { handler: "other", labels: { schedule: scheduleId } },
      etag: "2",
      nextTime: undefined,
    });
    expect(change(state, paths, fields)).toBeUndefined();
  });

  test("counts a new clock from now", () => {
    const state = after(created(), change(created(), ["cron"], { cron: "*/10 * * * *" }, at("00:31:00")));
    expect(scheduleOf(state).nextTime).toEqual(timestampFromDate(at("00:40:00")));
  });

  test("leaves a time that has come to be caught up when the clock stays as it is", () => {
    const state = after(created(), change(created(), ["name"], { name: "Tock" }, at("05:30:00")));
    expect(scheduleOf(state).nextTime).toEqual(timestampFromDate(at("01:00:00")));
  });

  test("does not catch up what passed during a pause", () => {
    const paused = after(created(), change(created(), ["status"], { status: ScheduleStatus.PAUSED }));
    expect(scheduleOf(paused).nextTime).toBeUndefined();
    const active = after(paused, change(paused, ["status"], { status: ScheduleStatus.ACTIVE }, at("05:30:00")));
    expect(scheduleOf(active).nextTime).toEqual(timestampFromDate(at("06:00:00")));
  });

  test("refuses an etag from before the last change", () => {
    const state = after(created(), change(created(), ["name"], { name: "Tock" }));
    expect(() => change(state, ["name"], { name: "Tack", etag: "1" })).toThrow(reason("ETAG_MISMATCH"));
    expect(change(state, ["name"], { name: "Tack", etag: "2" })).toBeDefined();
  });

  test.each([
    { what: "an empty mask", paths: [], fields: {} },
    { what: "a part of a field", paths: ["run.handler"], fields: {} },
    { what: "a field of Object", paths: ["constructor"], fields: {} },
    { what: "a field that is output only", paths: ["next_time"], fields: {} },
    { what: "an empty name", paths: ["name"], fields: {} },
    { what: "archiving", paths: ["status"], fields: { status: ScheduleStatus.ARCHIVED } },
    { what: "a cron that is none", paths: ["cron"], fields: { cron: "often" } },
    { what: "a zone that is none", paths: ["time_zone"], fields: { timeZone: "Mars/Olympus" } },
    { what: "no run", paths: ["run"], fields: {} },
  ])("refuses $what", ({ paths, fields }) => {
    expect(() => change(created(), paths, fields)).toThrow(reason("INVALID_REQUEST"));
  });

  test("refuses a cron that is none for a paused schedule as well", () => {
    const paused = after(created(), change(created(), ["status"], { status: ScheduleStatus.PAUSED }));
    expect(() => change(paused, ["cron"], { cron: "0 0 31 6 *" })).toThrow(reason("INVALID_REQUEST"));
  });

  test("refuses a schedule that is absent or archived", () => {
    expect(() => change(absent, ["name"], { name: "x" })).toThrow(reason("SCHEDULE_NOT_FOUND"));
    const archived = after(created(), archiveSchedule(created(), scheduleId));
    expect(() => change(archived, ["name"], { name: "Tick" })).toThrow(reason("INVALID_STATE"));
  });
});

describe("archiveSchedule", () => {
  test("archives for good, and records nothing the second time", () => {
    const archived = after(created(), archiveSchedule(created(), scheduleId));
    expect(scheduleOf(archived)).toMatchObject({ status: ScheduleStatus.ARCHIVED, nextTime: undefined, etag: "2" });
    expect(archiveSchedule(archived, scheduleId)).toBeUndefined();
  });

  test("refuses a schedule that is absent", () => {
    expect(() => archiveSchedule(absent, scheduleId)).toThrow(reason("SCHEDULE_NOT_FOUND"));
  });
});
