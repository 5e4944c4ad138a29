import type { Background } from "../kernel/background.ts";
import type { Clock } from "../kernel/clock.ts";

/** Something that is to be done at a time. */
export interface Due {
  /** Names it: a timer that is set again under the same key takes the place of the one before. */
  readonly key: string;
  readonly timeMs: number;
  /** Does it. More than once does no harm, and neither does doing it for nothing. */
  readonly act: () => Promise<unknown>;
}

/** Does things when their time has come. */
export interface DueTimers extends Disposable {
  /** Learns of something from a new event. */
  set(due: Due): void;
  /**
   * Looks up, when that is due, whose time comes soon: those that were recorded long ago, or before we listened. The tables
   * must have every event that `set` was not called for. Returns in how many milliseconds it is due again.
   */
  sweep(): Promise<number>;
}

/** What timers need. */
export interface DueTimersDeps {
  readonly clock: Clock;
  readonly background: Background;
  /** Up to `limit` things whose time comes by then, the earliest first, from the tables. */
  readonly find: (by: Date, limit: number) => Promise<readonly Due[]>;
}

/**
 * Only those whose time comes within this have a timer: a million runs that wait for next week take no memory. The look-ups
 * come twice as often, so that one may fail.
 */
const horizonMs = 120_000;
const sweepMs = 60_000;
const pageSize = 5_000;
/** The least pause between two look-ups: what was done just now must have come to the tables. */
const leastSweepMs = 250;

/** No timer yet. */
export function createDueTimers({ clock, background, find }: DueTimersDeps): DueTimers {
  const timers = new Map<string, { readonly timeMs: number; timer: NodeJS.Timeout | undefined }>();
  let sweepTimeMs = 0;

  function set({ key, timeMs, act }: Due): void {
    if (timeMs - clock.now().getTime() > horizonMs) return;
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
        await act();
        done();
      }, missed);
    };
    arm();
  }

  return {
    set,
    async sweep() {
      const nowMs = clock.now().getTime();
      if (nowMs >= sweepTimeMs) {
        const found = await find(new Date(nowMs + horizonMs), pageSize);
        for (const due of found) set(due);
        const last = found.length < pageSize ? undefined : found.at(-1);
        const nextMs = last === undefined ? sweepMs : Math.min(last.timeMs - nowMs, sweepMs);
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
