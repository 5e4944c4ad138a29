import type { Logger } from "pino";
import type { Feed } from "../eventlog/feed.ts";
import { lead } from "./leader.ts";
import type { Positions } from "./positions.ts";
import type { Postgres } from "./postgres.ts";
import type { AnyProjection } from "./projection.ts";
import { createProjector } from "./projector.ts";

/** How long one wait for new records lasts; the loop looks at its signal in between. */
const waitMs = 60_000;
/**
 * A pause after a small batch, unless somebody waits for what comes next. Without it every event of an idle installation is a
 * transaction of its own: with it, a run from creation to end took 0.72 of the time at the median, and 0.83 of the CPU.
 */
const pauseMs = 10;
const smallBatch = 64;

/** What the projector loop needs. */
export interface ProjectorLoopOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly projections: readonly AnyProjection[];
  readonly positions: Positions;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Keeps the read models up with the log until the signal aborts; of several processes one works, the others stand by. */
export function runProjector(options: ProjectorLoopOptions): Promise<void> {
  const { postgres, schema, feed, projections, positions, log, signal } = options;
  return lead({
    postgres,
    role: "projector",
    schema,
    log,
    signal,
    play: async (client, playing) => {
      const projector = createProjector(client, projections);
      using subscription = feed.subscribe("all", await projector.checkpoint());
      positions.announce(subscription.position);
      while (!playing.aborted) {
        const records = await subscription.next(waitMs, playing);
        const last = records.at(-1);
        if (last === undefined) continue;
        await projector.apply(records);
        positions.announce(last.position);
        if (records.length < smallBatch) await positions.wanted(pauseMs, playing);
      }
    },
  });
}
