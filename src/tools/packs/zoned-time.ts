import { ToolError } from "../tool-error.ts";

/** A moment as it reads on the clocks of a time zone. */
export interface ZonedTime {
  /** In UTC, for example `2026-03-29T01:30:00.000Z`. */
  readonly time: string;
  /** The time zone's IANA name. */
  readonly zone: string;
  /** With the zone's offset, for example `2026-03-29T03:30:00+02:00`. */
  readonly local: string;
  readonly weekday: string;
}

const numericParts = {
  calendar: "iso8601",
  numberingSystem: "latn",
  hourCycle: "h23",
  weekday: "long",
  year: "numeric",
  month: "numeric",
  day: "numeric",
  hour: "numeric",
  minute: "numeric",
  second: "numeric",
} as const;

/** How the clocks of a zone read at a moment, in milliseconds since 1970. Throws a ToolError TIME_INVALID for no zone. */
export function inZone(timeMs: number, zone: string): ZonedTime {
  const parts = partsOf(timeMs, zone);
  const offset = offsetMs(timeMs, zone);
  const local = new Date(timeMs + offset).toISOString().slice(0, 19);
  return { time: new Date(timeMs).toISOString(), zone, local: `${local}${offsetText(offset)}`, weekday: parts.weekday };
}

/**
 * The moment, in milliseconds since 1970, of an ISO 8601 text: with an offset or `Z`, or as the clocks of `zone` read.
 * Of an hour that they show twice the first counts; one that they skip counts as if they had not been put forward yet.
 * Throws a ToolError TIME_INVALID.
 */
export function parseTime(text: string, zone: string): number {
  const pattern = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/;
  const match = pattern.exec(text);
  const [date, clock = "00:00"] = text.split("T");
  const timeMs = match?.[1] === undefined ? Date.parse(`${date}T${clock}Z`) : Date.parse(text);
  // Date.parse takes 30 February for 2 March.
  if (match === null || Number.isNaN(timeMs) || !isDay(date ?? "")) throw invalid(`${JSON.stringify(text)} is no time`);
  if (match[1] !== undefined) return timeMs;
  // Near a change of clocks the offsets of the day before and the day after differ; the earlier one is tried first.
  const dayMs = 86_400_000;
  const [before, after] = [offsetMs(timeMs - dayMs, zone), offsetMs(timeMs + dayMs, zone)];
  const fitting = [before, after].find((offset) => offsetMs(timeMs - offset, zone) === offset);
  return timeMs - (fitting ?? before);
}

function isDay(date: string): boolean {
  return new Date(`${date}T00:00:00Z`).toISOString().startsWith(date);
}

function offsetMs(timeMs: number, zone: string): number {
  const { year, month, day, hour, minute, second } = partsOf(timeMs, zone);
  const localMs = new Date(0).setUTCFullYear(year, month - 1, day) + ((hour * 60 + minute) * 60 + second) * 1_000;
  return localMs - Math.floor(timeMs / 1_000) * 1_000;
}

function offsetText(offset: number): string {
  const minutes = Math.abs(offset) / 60_000;
  const [hour, minute] = [Math.floor(minutes / 60), Math.floor(minutes % 60)].map((part) =>
    String(part).padStart(2, "0"),
  );
  return `${offset < 0 ? "-" : "+"}${hour}:${minute}`;
}

function partsOf(timeMs: number, zone: string) {
  const parts = new Map(
    formatOf(zone)
      .formatToParts(timeMs)
      .map(({ type, value }) => [type, value]),
  );
  const number = (type: Intl.DateTimeFormatPartTypes) => Number(parts.get(type));
  return {
    year: number("year"),
    month: number("month"),
    day: number("day"),
    hour: number("hour"),
    minute: number("minute"),
    second: number("second"),
    weekday: parts.get("weekday") ?? "",
  };
}

function formatOf(zone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", { ...numericParts, timeZone: zone });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw invalid(`${JSON.stringify(zone)} is no time zone; give an IANA name such as Europe/Berlin, or UTC`, error);
  }
}

function invalid(message: string, cause?: unknown): ToolError {
  return new ToolError("TIME_INVALID", message, { cause });
}
