import type { Logger } from "pino";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Feed, Subscription } from "../eventlog/feed.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { sleep } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import type { Admission } from "./admission.ts";
import { createBackground } from "../kernel/background.ts";
import { type Children, createChildren } from "./children.ts";
import { createOffers, type Offers } from "./offers.ts";
import { createReconciler } from "./reconciler.ts";
import type { RunState } from "./state.ts";
import { createSystemCommand } from "./system-command.ts";
import { createWakeTimers, type WakeTimers } from "./wake-timers.ts";

/** What the reactors need. */
export interface ReactorsOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
  readonly jobs: Jobs;
  readonly heartbeats: Heartbeats;
  /** Opens the limits that hold for runs, as the tables have them. */
  readonly openAdmission: () => Promise<Admission>;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly leaseTtlMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** How long one wait for new records lasts; the loop looks at its signal in between. */
const waitMs = 60_000;
/** How long the start waits for the tables. */
const startWaitMs = 2_000;
/** What the admission knows is compared with the tables this often. */
const compareMs = 300_000;

/**
 * Does what follows from events until the signal aborts: jobs for queued runs, the end of waiting, the word from children
 * to parents and back. Of several processes one works, the others stand by. It keeps no place of its own: it begins at the
 * log's end, and what was missed is found in the tables.
 */
export function runReactors(options: ReactorsOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  return lead({ postgres, role: "reactors", schema, log, signal, play: (_client, playing) => react(options, playing) });
}

interface Reactions {
  readonly offers: Offers;
  readonly timers: WakeTimers;
  readonly children: Children;
}

async function react(options: ReactorsOptions, playing: AbortSignal): Promise<void> {
  const { feed, aggregates, clock, ids, log } = options;
  const { db } = options.postgres;
  const stop = new AbortController();
  const signal = AbortSignal.any([playing, stop.signal]);
  using subscription = feed.subscribe("all", feed.position);
  const upToDate = await isUpToDate(options, signal);
  if (!upToDate) log.warn("the tables are behind: until they are not, limits and waits rest on what they have");
  const command = createSystemCommand(aggregates, ids);
  // A run with thousands of children is told of them one by one: nobody else's time has to wait for that.
  const background = () => createBackground(log, signal);
  const wake = () => subscription.wake();
  using offers = createOffers({ ...options, db, admission: await options.openAdmission(), signal, wake });
  using timers = createWakeTimers({ db, clock, command, background: background() });
  const children = createChildren({ db, command, background: background() });
  await offers.start();
  await children.start();
  const reactions = { offers, timers, children };
  const both = [follow(subscription, reactions, signal), reconcile(options, reactions, { command, upToDate }, signal)];
  // When one ends, for whatever reason, the other has to as well.
  await Promise.race(both).finally(() => stop.abort());
  await Promise.all(both);
}

/** True when the tables have everything that the subscription will not bring. */
async function isUpToDate({ feed, positions, log }: ReactorsOptions, signal: AbortSignal): Promise<boolean> {
  try {
    await positions.reach(feed.position, AbortSignal.any([signal, AbortSignal.timeout(startWaitMs)]));
    return true;
  } catch (error) {
    log.debug({ err: error }, "tables not reached");
    return false;
  }
}

async function follow(subscription: Subscription, reactions: Reactions, signal: AbortSignal): Promise<void> {
  const { offers, timers, children } = reactions;
  while (!signal.aborted) {
    const records = await subscription.next(waitMs, signal);
    for (const record of records) {
      timers.take(record);
      children.take(record);
    }
    await offers.round(records);
  }
}

async function reconcile(
  options: ReactorsOptions,
  { offers, timers, children }: Reactions,
  { command, upToDate }: { command: ReturnType<typeof createSystemCommand>; upToDate: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { feed, positions, clock, log, leaseTtlMs } = options;
  const reconciler = createReconciler({ ...options, db: options.postgres.db, command, offers });
  using _listening = reconciler.listen();
  const sweepMs = Math.min(Math.max(leaseTtlMs / 6, 200), 5_000);
  let compareTimeMs = clock.now().getTime() + compareMs;
  while (!signal.aborted) {
    let nextMs = sweepMs;
    try {
      const { position } = feed;
      await positions.reach(position, signal);
      // What the start rested on was old: start again.
      if (!upToDate) return;
      nextMs = Math.min(sweepMs, await timers.sweep());
      await children.sweep(position);
      nextMs = Math.min(nextMs, await reconciler.sweep(signal));
      if (clock.now().getTime() >= compareTimeMs) {
        await offers.compare(position);
        compareTimeMs = clock.now().getTime() + compareMs;
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "sweep failed, repeating");
    }
    await sleep(nextMs, signal);
  }
}
