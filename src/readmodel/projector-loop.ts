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
 * What comes this soon after a few events goes into the same transaction, unless somebody waits for the tables. Without it
 * every event of an idle installation is a transaction of its own, in the middle of what its run does next: a run from
 * creation to end took 1.4 times as long at the median, and 1.2 times the CPU.
 */
const gatherMs = 10;
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
        if (records.length > 0 && records.length < smallBatch) {
          await positions.wanted(gatherMs, playing);
          records.push(...(await subscription.next(0, playing)));
        }
        const last = records.at(-1);
        if (last === undefined || playing.aborted) continue;
        await projector.apply(records);
        positions.announce(last.position);
      }
    },
  });
}
