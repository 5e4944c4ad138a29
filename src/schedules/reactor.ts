import type { Logger } from "pino";
import type { Feed } from "../eventlog/feed.ts";
import type { Clock } from "../kernel/clock.ts";
import { type Bell, createBell } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { type NextFiring, nextFirings } from "./queries.ts";
import type { Schedules } from "./schedules.ts";

/** What firing needs. */
export interface ScheduleReactorOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Pick<Positions, "reach">;
  readonly schedules: Pick<Schedules, "fire">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Schedules looked at, and fired at the same time. */
const pageSize = 100;
/** The longest sleep: a timer does not notice when the machine's clock is set, or when the machine itself has slept. */
const longestMs = 30_000;
/** The pause after something went wrong. */
const retryMs = 1_000;
/** How long one wait for new records lasts. */
const listenMs = 60_000;

/** Fires schedules when their time has come, until the signal aborts; of several processes one works, the others stand by. */
export function runScheduleReactor(options: ScheduleReactorOptions): Promise<void> {
  const { postgres, schema, feed, log, signal } = options;
  return lead({
    postgres,
    role: "schedules",
    schema,
    log,
    signal,
    play: async (_client, playing) => {
      const stop = new AbortController();
      const until = AbortSignal.any([playing, stop.signal]);
      const news: News = { bell: createBell(), position: feed.position };
      const both = [listen(options, news, until), keepTime(options, news, until)];
      // When one ends, for whatever reason, the other has to as well.
      await Promise.race(both).finally(() => stop.abort());
      await Promise.all(both);
    },
  });
}

/** What has become of schedules that the read model may not know yet. */
interface News {
  /** Rings when somebody has created or changed one. */
  readonly bell: Bell;
  /** The position up to which the read model has to be asked. */
  position: bigint;
}

async function listen({ feed }: ScheduleReactorOptions, news: News, signal: AbortSignal): Promise<void> {
  using subscription = feed.subscribe("all", news.position);
  while (!signal.aborted) {
    const records = await subscription.next(listenMs, signal);
    const newest = records.findLast(({ event }) => event.stream?.type === "schedule");
    if (newest === undefined || newest.position <= news.position) continue;
    news.position = newest.position;
    news.bell.ring();
  }
}

async function keepTime(options: ScheduleReactorOptions, news: News, signal: AbortSignal): Promise<void> {
  const { log } = options;
  while (!signal.aborted) {
    let waitMs = retryMs;
    try {
      waitMs = await fireDue(options, news, signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "schedules not read, repeating");
    }
    if (waitMs > 0) await news.bell.wait(signal, waitMs);
  }
}

/** Fires what is due. Returns in how many milliseconds something is due again, or to be tried again. */
async function fireDue(options: ScheduleReactorOptions, news: News, signal: AbortSignal): Promise<number> {
  const { postgres, positions, clock } = options;
  await positions.reach(news.position, signal);
  const firings = await nextFirings(postgres.db, pageSize);
  const nowMs = clock.now().getTime();
  const due = firings.filter(({ nextTime }) => nextTime.getTime() <= nowMs);
  if (due.length === 0) return Math.min((firings[0]?.nextTime.getTime() ?? Infinity) - nowMs, longestMs);
  const done = await Promise.all(due.map((firing) => fire(options, firing, signal)));
  for (const position of done) if (position !== undefined && position > news.position) news.position = position;
  return done.includes(undefined) ? retryMs : 0;
}

/** Fires one schedule. Returns the position of its newest event; undefined when that did not work out. */
async function fire(
  { schedules, log }: ScheduleReactorOptions,
  { workspaceId, scheduleId }: NextFiring,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  try {
    return await schedules.fire(workspaceId, scheduleId, signal);
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error, scheduleId }, "schedule not fired, repeating");
    return undefined;
  }
}
