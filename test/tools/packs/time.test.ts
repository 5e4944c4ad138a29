import { expect, test } from "vitest";
import { timePack } from "../../../src/tools/packs/time.ts";
import { errorOf, resultOf, toolOf } from "../calling.ts";

const pack = timePack(() => Date.UTC(2026, 10, 21, 23, 30, 15));
const now = toolOf(pack, "time.now");
const convert = toolOf(pack, "time.convert");

async function local(args: object): Promise<string> {
  const { local: text } = (await resultOf(convert, args)) as { local: string };
  return text;
}

test("tells the time in a zone, and in UTC without one", async () => {
  expect(await resultOf(now, {})).toEqual({
    time: "2026-11-21T23:30:15.000Z",
    zone: "UTC",
    local: "2026-11-21T23:30:15+00:00",
    weekday: "Saturday",
  });
  expect(await resultOf(now, { zone: "Asia/Kathmandu" })).toEqual({
    time: "2026-11-21T23:30:15.000Z",
    zone: "Asia/Kathmandu",
    local: "2026-11-22T05:15:15+05:45",
    weekday: "Sunday",
  });
});

const conversions: [string, object, string][] = [
  [
    "summer time",
    { time: "2026-07-01T12:00", from: "Europe/Berlin", to: "America/New_York" },
    "2026-07-01T06:00:00-04:00",
  ],
  ["winter time", { time: "2026-01-01T12:00", from: "Europe/Berlin" }, "2026-01-01T11:00:00+00:00"],
  ["a date alone", { time: "2026-01-01", from: "Asia/Tokyo" }, "2025-12-31T15:00:00+00:00"],
  ["an offset, which wins", { time: "2026-01-01T12:00:00+02:00", from: "Asia/Tokyo" }, "2026-01-01T10:00:00+00:00"],
  [
    "an hour that the clocks skip",
    { time: "2026-03-29T02:30", from: "Europe/Berlin", to: "Europe/Berlin" },
    "2026-03-29T03:30:00+02:00",
  ],
  ["the minute before it", { time: "2026-03-29T01:59", from: "Europe/Berlin" }, "2026-03-29T00:59:00+00:00"],
  ["the minute after it", { time: "2026-03-29T03:00", from: "Europe/Berlin" }, "2026-03-29T01:00:00+00:00"],
  [
    "an hour that they show twice, the first",
    { time: "2026-10-25T02:30", from: "Europe/Berlin" },
    "2026-10-25T00:30:00+00:00",
  ],
  [
    "skipped on the other side of the world",
    { time: "2026-03-08T02:30", from: "America/New_York" },
    "2026-03-08T07:30:00+00:00",
  ],
  ["a year long ago", { time: "0099-01-01T00:00", from: "UTC" }, "0099-01-01T00:00:00+00:00"],
  [
    "half an hour of summer time",
    { time: "2026-01-15T12:00", from: "Australia/Lord_Howe" },
    "2026-01-15T01:00:00+00:00",
  ],
];
for (const [what, args, text] of conversions) {
  test(`converts ${what}`, async () => expect(await local(args)).toBe(text));
}

for (const time of [
  "",
  "now",
  "2026-02-30",
  "2026-13-01",
  "2026-01-01T25:00",
  "01/02/2026",
  "2026-01-01 12:00",
  "12:00",
]) {
  test(`takes ${JSON.stringify(time)} for no time`, async () => {
    expect((await errorOf(convert, { time })).code).toBe("TIME_INVALID");
  });
}

for (const zone of ["Mars/Olympus", "__proto__", "../../etc", "Europe/Berlin\u0000"]) {
  test(`takes ${JSON.stringify(zone)} for no zone`, async () => {
    expect(await errorOf(now, { zone })).toMatchObject({ code: "TIME_INVALID" });
    expect((await errorOf(convert, { time: "2026-01-01", to: zone })).code).toBe("TIME_INVALID");
  });
}
