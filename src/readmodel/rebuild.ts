import type { PoolClient } from "pg";
import { fold } from "./fold.ts";
import { migrate, pgIdentifier } from "./migrate.ts";
import { liveSchema, transaction } from "./postgres.ts";
import { createProjector, type Projector } from "./projector.ts";
import { besideSchema, type UpkeepOptions, unhurried, withUpkeepLock } from "./upkeep.ts";

/** Events that may be left for the moment in which the live projector waits, and how often we try to get there. */
const swapWithin = 500n;
const maxPasses = 10;

/** What was rebuilt. */
export interface Rebuilt {
  /** Where the new tables stood when they took the place of the old ones. */
  readonly position: bigint;
}

/**
 * Folds the whole log into new tables beside the live ones, then swaps them. Reads and the live projector go on meanwhile;
 * the projector waits for the last events before the swap. A rebuild that was interrupted has changed nothing, and the
 * next one removes what it left. CONTENTION when another rebuild or verification is under way.
 */
export async function rebuild(options: UpkeepOptions): Promise<Rebuilt> {
  const { postgres, projections, schema = liveSchema } = options;
  const live = pgIdentifier(schema);
  const nextSchema = besideSchema(schema, "next");
  const next = pgIdentifier(nextSchema);
  const old = pgIdentifier(besideSchema(schema, "old"));
  return withUpkeepLock(postgres, schema, async (client) => {
    for (const leftover of [next, old]) await client.query(unhurried(`drop schema if exists ${leftover} cascade`));
    await migrate(postgres, schema);
    await migrate(postgres, nextSchema);
    const position = await postgres.withClient(async (builder) => {
      await builder.query(`set search_path = ${next}`);
      const projector = createProjector(builder, projections);
      for (let pass = 0; pass < maxPasses && (await catchUp(projector, options)) > swapWithin;) pass++;
      const reached = await transaction(client, async () => {
        await lockProjector(client, live);
        await catchUp(projector, options);
        await client.query(`alter schema ${live} rename to ${old}`);
        await client.query(`alter schema ${next} rename to ${live}`);
        return projector.checkpoint();
      });
      await builder.query("reset search_path");
      return reached;
    });
    await client.query(unhurried(`drop schema ${old} cascade`));
    return { position };
  });
}

/** Brings the new tables up to the present end of the log. Returns how many events that were. */
async function catchUp(projector: Projector, { log, onProgress }: UpkeepOptions): Promise<bigint> {
  const done = await projector.checkpoint();
  const { head } = await log.bounds();
  const records = log.read(log.subjects.all, done, head);
  await fold({ records, head, apply: (batch) => projector.apply(batch), onProgress });
  return head - done;
}

/** Waits for the live projector's transaction and holds the next one back: each takes the checkpoint first. Reads go on. */
async function lockProjector(client: PoolClient, live: string): Promise<void> {
  await client.query(`lock table ${live}.checkpoints in exclusive mode`);
}
