import type { Logger } from "pino";
import type { Feed, Subscription } from "../eventlog/feed.ts";
import { createBackground } from "../kernel/background.ts";
import { sleep } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { type OrphansDeps, sweepOrphans } from "./orphans.ts";
import { createSweeps, type Sweeps, type SweepsDeps } from "./sweeps.ts";

/** How often artifacts are looked after, in milliseconds. */
export interface SweepIntervals {
  /** Between two looks at what has expired and what is to be purged; default 5 seconds. */
  readonly dueMs: number;
  /** Between two sweeps of orphans; default 1 hour. */
  readonly orphansMs: number;
}

/** What the reactor needs. */
export interface ArtifactReactorOptions extends Omit<SweepsDeps, "db" | "blobs" | "keys">, Omit<OrphansDeps, "db"> {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Pick<Positions, "reach">;
  readonly intervals?: Partial<SweepIntervals>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** How long one wait for new records lasts; the loop looks at its signal in between. */
const waitMs = 60_000;

/**
 * Does what follows from artifacts until the signal aborts: those that only a run has recorded get their own stream, they expire,
 * are purged and destroyed, and what crashes have left behind is removed. Of several processes one works, the others stand by. It
 * keeps no place of its own: it begins at the log's end, and what was missed is found in the tables.
 */
export function runArtifactReactor(options: ArtifactReactorOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  const play = (_client: unknown, playing: AbortSignal) => react(options, playing);
  return lead({ postgres, role: "artifacts", schema, log, signal, play });
}

async function react(options: ArtifactReactorOptions, playing: AbortSignal): Promise<void> {
  const { feed, postgres } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([playing, stop.signal]);
  const sweeps = createSweeps({ ...options, db: postgres.db });
  using subscription = feed.subscribe("all", feed.position);
  const all = [
    follow(options, subscription, sweeps, signal),
    every(options, "dueMs", 5_000, signal, async () => {
      await sweeps.heal(signal);
      await sweeps.expire(signal);
      await sweeps.purge(signal);
    }),
    every(options, "orphansMs", 60 * 60_000, signal, () => sweepOrphans({ ...options, db: postgres.db }, signal)),
  ];
  // When one ends, for whatever reason, the others have to as well.
  await Promise.race(all).finally(() => stop.abort());
  await Promise.all(all);
}

/** Whoever purges for good may die before the bytes are gone: then they are gone in a moment, not in an hour. */
async function follow(
  { log }: ArtifactReactorOptions,
  subscription: Subscription,
  sweeps: Sweeps,
  signal: AbortSignal,
): Promise<void> {
  const background = createBackground(log, signal);
  while (!signal.aborted) {
    for (const { event } of await subscription.next(waitMs, signal)) {
      const { workspaceId, stream, payload } = event;
      if (payload.case === "artifactPurged" && stream) background.start(() => sweeps.destroy(workspaceId, stream.id));
    }
  }
}

/** Sweeps now and again and again, each time when the tables have what was in the log by then. */
async function every(
  { feed, positions, intervals, log }: ArtifactReactorOptions,
  interval: keyof SweepIntervals,
  defaultMs: number,
  signal: AbortSignal,
  sweep: () => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await positions.reach(feed.position, signal);
      await sweep();
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, interval }, "sweep failed, repeating");
    }
    await sleep(intervals?.[interval] ?? defaultMs, signal);
  }
}
