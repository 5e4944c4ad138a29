import { durationFromMs, type Timestamp, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { pause } from "../client/backoff.ts";
import type { Activity } from "./activity.ts";
import type { Commands } from "./commands.ts";
import type { HandlerContext } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";
import type { Journal } from "./journal.ts";
import type { Ledger, StepInit } from "./ledger.ts";
import { resultOf } from "./steps.ts";
import type { Waits } from "./waits.ts";

/** What sleeps need. */
export interface SleepsOptions {
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly waits: Waits;
  /** The server's clock, in milliseconds since 1970. */
  readonly serverNowMs: () => number;
  /** A sleep that has longer to go is waited for without a worker. */
  readonly longestHeldMs: number;
  readonly signal: AbortSignal;
}

const maxDays = 366;

/** Sleeps that are on record: they end at the time that the server set when they began. */
export function createSleeps(options: SleepsOptions): HandlerContext["sleep"] {
  const { commands, ledger, journal, activity, waits, serverNowMs, longestHeldMs, signal } = options;

  async function over(sequence: number, time: Timestamp): Promise<void> {
    const leftMs = Math.ceil(timestampMs(time) - serverNowMs());
    if (leftMs > longestHeldMs) return waits.until(sequence, { time, leftMs });
    await activity.during(() => pause(Math.max(leftMs, 0), signal));
    signal.throwIfAborted();
  }

  return (duration, { name = "sleep" } = {}) =>
    commands.perform({
      kind: "sleep",
      name,
      async live(command) {
        const started = await journal.start(() => ledger.startStep(command, lengthOf(duration)));
        if (started.end?.outcome.ok) return;
        if (started.step?.wakeTime !== undefined) await over(command.sequence, started.step.wakeTime);
        await journal.end(() => ledger.end(started, { ok: true, output: undefined }));
      },
      replayed: resultOf<void>,
    });
}

function lengthOf(duration: number | Date): StepInit {
  const isDate = duration instanceof Date;
  const value = isDate ? duration.getTime() : duration;
  const inRange = isDate ? Number.isFinite(value) : value >= 0 && value <= maxDays * 86_400_000;
  if (!inRange) {
    const message = `ctx.sleep takes a Date, or milliseconds from 0 to ${maxDays} days; got ${String(duration)}`;
    throw new HandlerError("INVALID_SLEEP", message, { retryable: false });
  }
  return isDate ? { wakeTime: timestampFromDate(duration) } : { delay: durationFromMs(Math.ceil(value)) };
}
