import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { calendarOf } from "../../src/schedules/calendar.ts";

/** The first `count` times after `after`, as ISO strings without their zero milliseconds. */
function times(cron: string, timeZone: string, after: string, count: number): string[] {
  const calendar = calendarOf(cron, timeZone);
  const found: string[] = [];
  for (let last = new Date(after); found.length < count;) {
    const next = calendar.next(last);
    if (next === undefined) break;
    found.push(next.toISOString().replace(".000", ""));
    last = next;
  }
  return found;
}

const invalid = (message: RegExp): unknown =>
  expect.objectContaining({ reason: "INVALID_REQUEST", message: expect.stringMatching(message) as string });

describe("a time that the clocks skip in spring fires when they jump", () => {
  test.each([
    {
      zone: "Europe/Berlin",
      cron: "30 2 * * *",
      after: "2026-03-28T12:00:00Z",
      jump: "2026-03-29T01:00:00Z",
      next: "2026-03-30T00:30:00Z",
    },
    {
      zone: "America/New_York",
      cron: "30 2 * * *",
      after: "2026-03-07T12:00:00Z",
      jump: "2026-03-08T07:00:00Z",
      next: "2026-03-09T06:30:00Z",
    },
    // Half an hour: from 2:00 to 2:30.
    {
      zone: "Australia/Lord_Howe",
      cron: "15 2 * * *",
      after: "2026-10-03T12:00:00Z",
      jump: "2026-10-03T15:30:00Z",
      next: "2026-10-04T15:15:00Z",
    },
    // A whole day: Samoa had no 30 December 2011.
    {
      zone: "Pacific/Apia",
      cron: "0 12 30 12 *",
      after: "2011-12-01T00:00:00Z",
      jump: "2011-12-30T10:00:00Z",
      next: "2012-12-29T22:00:00Z",
    },
  ])("$zone", ({ zone, cron, after, jump, next }) => {
    expect(times(cron, zone, after, 2)).toEqual([jump, next]);
  });

  test("once, however many times are skipped", () => {
    expect(times("*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 3)).toEqual([
      "2026-03-29T01:00:00Z",
      "2026-03-29T01:20:00Z",
      "2026-03-29T01:40:00Z",
    ]);
  });
});

describe("a time that comes twice in autumn fires once, the first time", () => {
  test.each([
    {
      zone: "Europe/Berlin",
      cron: "30 2 * * *",
      after: "2026-10-24T12:00:00Z",
      first: "2026-10-25T00:30:00Z",
      next: "2026-10-26T01:30:00Z",
    },
    {
      zone: "America/New_York",
      cron: "30 1 * * *",
      after: "2026-10-31T12:00:00Z",
      first: "2026-11-01T05:30:00Z",
      next: "2026-11-02T06:30:00Z",
    },
    // Half an hour: from 2:00 back to 1:30.
    {
      zone: "Australia/Lord_Howe",
      cron: "45 1 * * *",
      after: "2026-04-04T00:00:00Z",
      first: "2026-04-04T14:45:00Z",
      next: "2026-04-05T15:15:00Z",
    },
  ])("$zone", ({ zone, cron, after, first, next }) => {
    expect(times(cron, zone, after, 2)).toEqual([first, next]);
  });

  test("whatever the expression looks like", () => {
    expect(times("*/30 2-3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 4)).toEqual([
      "2026-10-25T00:00:00Z",
      "2026-10-25T00:30:00Z",
      "2026-10-25T02:00:00Z",
      "2026-10-25T02:30:00Z",
    ]);
  });

  test("also for who asks in the second pass", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1)).toEqual(["2026-10-26T01:30:00Z"]);
    expect(times("* * * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1)).toEqual(["2026-10-25T02:00:00Z"]);
  });
});

describe("a calendar", () => {
  test.each([
    { cron: "0 9 * * MON-FRI", zone: "UTC", after: "2026-01-02T09:00:00Z", next: "2026-01-05T09:00:00Z" },
    { cron: "@hourly", zone: "UTC", after: "2026-01-02T09:00:00.500Z", next: "2026-01-02T10:00:00Z" },
    { cron: "*/10 * * * * *", zone: "UTC", after: "2026-01-02T09:00:00.500Z", next: "2026-01-02T09:00:10Z" },
    { cron: "0 0 L * *", zone: "America/New_York", after: "2026-02-03T00:00:00Z", next: "2026-02-28T05:00:00Z" },
    { cron: "0 0 29 2 *", zone: "UTC", after: "2026-03-01T00:00:00Z", next: "2028-02-29T00:00:00Z" },
    { cron: "0 0 13 * FRI", zone: "UTC", after: "2026-01-10T00:00:00Z", next: "2026-01-13T00:00:00Z" },
    { cron: "0 12 * * *", zone: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", next: "2026-01-01T06:15:00Z" },
  ])("fires $cron in $zone", ({ cron, zone, after, next }) => {
    expect(times(cron, zone, after, 1)).toEqual([next]);
  });

  test("gives times that only grow, each found from wherever before it one asks", () => {
    const zone = fc.constantFrom("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Cairo");
    const cron = fc.constantFrom(
      "30 2 * * *",
      "*/7 * * * *",
      "15 1-3 * * *",
      "@hourly",
      "0,45 2 29 3 *",
      "5 0 1 * MON",
    );
    const year = { min: Date.UTC(2025, 0), max: Date.UTC(2027, 0) };
    fc.assert(
      fc.property(
        zone,
        cron,
        fc.integer(year),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (timeZone, text, ms, part) => {
          const calendar = calendarOf(text, timeZone);
          const after = new Date(ms);
          const next = calendar.next(after);
          if (next === undefined) throw new Error("a time was expected");
          expect(next.getTime()).toBeGreaterThan(ms);
          const between = new Date(ms + Math.floor((next.getTime() - ms - 1) * part));
          expect(calendar.next(between)).toEqual(next);
        },
      ),
    );
  });
});

describe("refused with a way out is", () => {
  test.each([
    { cron: "* * * *", why: /not valid.*"30 6 \* \* MON-FRI"/ },
    { cron: "61 * * * *", why: /Invalid value for minute: 61/ },
    { cron: "every day", why: /not valid/ },
    { cron: "@reboot", why: /not valid/ },
    { cron: "0 0 1 1 * * 2030", why: /not valid/ },
    { cron: "2026-01-01T00:00:00", why: /a schedule repeats/ },
    { cron: "0 0 30 2 *", why: /never fires/ },
    { cron: "0 0 31 4,6,9,11 *", why: /never fires/ },
  ])("$cron", ({ cron, why }) => {
    expect(() => calendarOf(cron, "UTC")).toThrow(invalid(why));
  });

  test.each(["Mars/Olympus", "ACT", "+02:00", "", "Europe/Berlin]", "2026-01-01T00:00Z[Europe/Berlin]"])(
    "the zone %j",
    (zone) => {
      expect(() => calendarOf("0 9 * * *", zone)).toThrow(invalid(/time_zone .* is not known.*Europe\/Berlin/));
    },
  );
});
