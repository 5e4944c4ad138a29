import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { EventRecord } from "../eventlog/record.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Background } from "./background.ts";
import type { SystemCommand } from "./system-command.ts";
import { wakeRun } from "./wait-decider.ts";
import { wakingRuns } from "./waiting-queries.ts";

/** Wakes the runs that wait for a time. */
export interface WakeTimers extends Disposable {
  /** Learns of a run that waits from a new event. */
  take(record: EventRecord): void;
  /**
   * Looks up, when that is due, whose time comes soon: those who began to wait long ago, or before we listened. The tables
   * must have every event that `take` was not given. Returns in how many milliseconds it is due again.
   */
  sweep(): Promise<number>;
}

/** What wake timers need. */
export interface WakeTimersDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly command: SystemCommand;
  readonly background: Background;
}

/**
 * Only those whose time comes within this have a timer: a million runs that wait for next week take no memory. The look-ups
 * come twice as often, so that one may fail.
 */
const horizonMs = 120_000;
const sweepMs = 60_000;
const pageSize = 5_000;
/** The least pause between two look-ups: what was woken just now must have come to the tables. */
const leastSweepMs = 250;

/** No timer yet. */
export function createWakeTimers({ db, clock, command, background }: WakeTimersDeps): WakeTimers {
  const timers = new Map<string, { readonly timeMs: number; timer: NodeJS.Timeout | undefined }>();
  let sweepTimeMs = 0;

  function set(workspaceId: string, runId: string, timeMs: number): void {
    if (timeMs - clock.now().getTime() > horizonMs) return;
    const key = `${workspaceId}/${runId}`;
    const before = timers.get(key);
    if (before?.timeMs === timeMs) return;
    clearTimeout(before?.timer);
    const own: { timeMs: number; timer: NodeJS.Timeout | undefined } = { timeMs, timer: undefined };
    timers.set(key, own);
    const done = () => {
      if (timers.get(key) === own) timers.delete(key);
    };
    // The next look-up finds it, and comes as soon as it may: after a long outage nobody waits for another minute.
    const missed = () => {
      done();
      sweepTimeMs = 0;
    };
    const arm = () => {
      own.timer = setTimeout(ring, Math.max(timeMs - clock.now().getTime(), 0));
    };
    // A timer may ring a moment before the clock says so.
    const ring = () => {
      if (clock.now().getTime() < timeMs) return arm();
      background.start(async () => {
        await command(workspaceId, runId, (state) => wakeRun(state, clock.now()));
        done();
      }, missed);
    };
    arm();
  }

  return {
    take({ event }) {
      if (event.payload.case !== "runSuspended") return;
      const { conditions } = event.payload.value;
      const times = conditions.flatMap(({ condition }) =>
        condition.case === "time" ? timestampMs(condition.value) : [],
      );
      if (times.length > 0) set(event.workspaceId, event.stream?.id ?? "", Math.min(...times));
    },
    async sweep() {
      const nowMs = clock.now().getTime();
      if (nowMs >= sweepTimeMs) {
        const found = await wakingRuns(db, new Date(nowMs + horizonMs), pageSize);
        for (const { workspaceId, runId, wakeTime } of found) set(workspaceId, runId, wakeTime.getTime());
        const last = found.length < pageSize ? undefined : found.at(-1);
        const nextMs = last === undefined ? sweepMs : Math.min(last.wakeTime.getTime() - nowMs, sweepMs);
        sweepTimeMs = nowMs + Math.max(nextMs, leastSweepMs);
      }
      return sweepTimeMs - nowMs;
    },
    [Symbol.dispose]: () => {
      for (const { timer } of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
}
