import type { Logger } from "pino";
import type { Feed, Subscription } from "../eventlog/feed.ts";
import { createBackground } from "../kernel/background.ts";
import { sleep } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { createReactions, type Reactions, type ReactionsDeps } from "./reactions.ts";

/** What the reactor needs. */
export interface ApprovalReactorOptions extends Omit<ReactionsDeps, "db" | "background"> {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Pick<Positions, "reach">;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** How long one wait for new records lasts; the loop looks at its signal in between. */
const waitMs = 60_000;
/** How long the start waits for the tables. */
const startWaitMs = 2_000;
/** The longest pause between two sweeps. */
const sweepMs = 5_000;

/**
 * Does what follows from approvals until the signal aborts: they lapse and escalate, runs are told, and those that nobody
 * needs any more are canceled. Of several processes one works, the others stand by. It keeps no place of its own: it begins
 * at the log's end, and what was missed is found in the tables.
 */
export function runApprovalReactor(options: ApprovalReactorOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  const play = (_client: unknown, playing: AbortSignal) => react(options, playing);
  return lead({ postgres, role: "approvals", schema, log, signal, play });
}

async function react(options: ApprovalReactorOptions, playing: AbortSignal): Promise<void> {
  const { feed, postgres, log } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([playing, stop.signal]);
  using subscription = feed.subscribe("all", feed.position);
  const upToDate = await isUpToDate(options, signal);
  using reactions = createReactions({ ...options, db: postgres.db, background: createBackground(log, signal) });
  await reactions.start();
  const both = [follow(subscription, reactions, signal), sweep(options, reactions, upToDate, signal)];
  // When one ends, for whatever reason, the other has to as well.
  await Promise.race(both).finally(() => stop.abort());
  await Promise.all(both);
}

/** True when the tables have everything that the subscription will not bring. */
async function isUpToDate({ feed, positions, log }: ApprovalReactorOptions, signal: AbortSignal): Promise<boolean> {
  try {
    await positions.reach(feed.position, AbortSignal.any([signal, AbortSignal.timeout(startWaitMs)]));
    return true;
  } catch (error) {
    log.debug({ err: error }, "tables not reached");
    return false;
  }
}

async function follow(subscription: Subscription, reactions: Reactions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const record of await subscription.next(waitMs, signal)) reactions.take(record);
  }
}

async function sweep(
  { feed, positions, log }: ApprovalReactorOptions,
  reactions: Reactions,
  upToDate: boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    let nextMs = sweepMs;
    try {
      const { position } = feed;
      await positions.reach(position, signal);
      // What the start rested on was old: start again.
      if (!upToDate) return;
      nextMs = Math.min(sweepMs, await reactions.sweep(position));
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "sweep failed, repeating");
    }
    await sleep(nextMs, signal);
  }
}
