import { Cron } from "croner";
import { SignalboxError } from "../kernel/errors.ts";

/** The times that a cron expression names in a time zone. Pure: every answer rests on what it is asked with. */
export interface Calendar {
  /** The first time after `after`, whole seconds; undefined when there is none. */
  next(after: Date): Date | undefined;
}

/** Local times stand in for UTC here: croner finds the fields that match, and the zone is our own matter (see `timeOf`). */
const asIfUtc = { utcOffset: 0, mode: "5-or-6-parts" } as const;

/**
 * Any moment will do to see whether an expression ever matches: the calendar repeats itself every 400 years. croner looks
 * through every day until the year 3000, while nobody else gets a turn: the fewer, the better.
 */
const someTime = new Date("2600-01-01T00:00:00Z");

/**
 * The calendar of a cron expression (5 fields, or 6 with seconds in front, or a nickname such as `@hourly`) in an IANA
 * time zone. Days of month and of week that are both given mean either of them, as in every cron.
 * @throws SignalboxError INVALID_REQUEST when either is none, or when the expression never matches.
 */
export function calendarOf(cron: string, timeZone: string): Calendar {
  requireZone(timeZone);
  const pattern = parse(cron);
  if (pattern.nextRun(someTime) === null) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      `cron ${JSON.stringify(cron)} never fires: no calendar has such a day; correct the day of month or the month`,
    );
  }
  return {
    next(after) {
      let local = localTime(after, timeZone);
      for (;;) {
        const match = pattern.nextRun(local);
        if (match === null) return undefined;
        const time = timeOf(match, timeZone);
        // In the second pass through an hour that comes twice, what is left of it has fired in the first.
        if (time > after) return time;
        local = match;
      }
    },
  };
}

function parse(cron: string): Cron {
  let pattern: Cron;
  try {
    pattern = new Cron(cron, asIfUtc);
  } catch (error) {
    throw invalidCron(cron, error instanceof Error ? error.message.replace(/^\w+: /, "") : String(error), error);
  }
  // croner takes a date and time as well, for jobs that run once.
  if (pattern.getPattern() === undefined) throw invalidCron(cron, "a schedule repeats, and this is a single time");
  return pattern;
}

function invalidCron(cron: string, why: string, cause?: unknown): SignalboxError {
  return new SignalboxError(
    "INVALID_REQUEST",
    `cron ${JSON.stringify(cron)} is not valid: ${why}. Write minute, hour, day of month, month and day of week, ` +
      'such as "30 6 * * MON-FRI", with seconds in front if need be, or @hourly, @daily, @weekly, @monthly, @yearly',
    {},
    cause,
  );
}

function requireZone(timeZone: string): void {
  try {
    // Offsets such as +02:00 are taken too, but they are no zones: they know no summer time. Asked of Temporal, which does
    // the counting: Intl takes names such as ACT that it does not.
    if (/^[A-Za-z]/.test(timeZone) && new Temporal.ZonedDateTime(0n, timeZone)) return;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new SignalboxError(
    "INVALID_REQUEST",
    `time_zone ${JSON.stringify(timeZone)} is not known: use a name of the IANA database, such as "Europe/Berlin" or "UTC"`,
  );
}

/** What the clocks of the zone show at a time, as if they showed UTC. */
function localTime(time: Date, timeZone: string): Date {
  const shown = Temporal.Instant.fromEpochMilliseconds(time.getTime()).toZonedDateTimeISO(timeZone).toPlainDateTime();
  return new Date(shown.toZonedDateTime("UTC").epochMilliseconds);
}

/**
 * When the clocks of the zone show a local time. Of one that comes twice, the first; for one that the clocks skip, the
 * moment they jump. croner's own rules differ from expression to expression: some skip, some fire twice.
 */
function timeOf(local: Date, timeZone: string): Date {
  const wanted = Temporal.Instant.fromEpochMilliseconds(local.getTime()).toZonedDateTimeISO("UTC").toPlainDateTime();
  const time = wanted.toZonedDateTime(timeZone, { disambiguation: "earlier" });
  if (time.toPlainDateTime().equals(wanted)) return new Date(time.epochMilliseconds);
  const jump = time.getTimeZoneTransition("next");
  if (jump === null) throw new Error(`${timeZone} skips ${wanted.toString()} without a transition`);
  return new Date(jump.epochMilliseconds);
}
