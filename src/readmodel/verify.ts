import type { PoolClient } from "pg";
import { chainHash, type EventRecord } from "../eventlog/record.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { compareSchemas, type Difference, type Schemas } from "./compare.ts";
import { fold } from "./fold.ts";
import { pendingMigrations, pgIdentifier } from "./migrate.ts";
import { liveSchema, type Postgres } from "./postgres.ts";
import { createProjector } from "./projector.ts";
import { analyze, countEvents, createScratch, findBrokenLinks } from "./scratch.ts";
import { besideSchema, type UpkeepOptions, withUpkeepLock } from "./upkeep.ts";

/** Differences that are listed at most. */
const maxDifferences = 1_000;

/** What a verification found. */
export interface Verification {
  /** Events of the log that were checked. */
  readonly events: number;
  /** Aggregates that they belong to. */
  readonly streams: number;
  /** The live checkpoint: log and tables were compared up to here. */
  readonly head: bigint;
  /** What differs, at most 1,000; empty when all is well. */
  readonly differences: readonly Difference[];
  /** False when there are more differences than are listed. */
  readonly complete: boolean;
}

/**
 * Folds the log again up to the live checkpoint, computes every hash from the stored bytes, follows every aggregate's
 * chain, and compares each row of each table, all against one snapshot of the live tables, while everything goes on. When
 * the log itself is damaged, the tables are not compared. CONTENTION when a rebuild or another verification is under way.
 */
export async function verify(options: UpkeepOptions): Promise<Verification> {
  const { postgres, schema = liveSchema } = options;
  const live = pgIdentifier(schema);
  const scratch = pgIdentifier(besideSchema(schema, "verify"));
  return withUpkeepLock(postgres, schema, async (client) => {
    await requireMigrated(postgres, schema);
    // Everything happens in one transaction that is never committed: whatever ends it, nothing is left behind.
    await client.query("begin isolation level repeatable read");
    const verification = await verifyIn(client, { live, scratch }, options);
    await client.query("rollback");
    return verification;
  });
}

async function requireMigrated(postgres: Postgres, schema: string): Promise<void> {
  const pending = await pendingMigrations(postgres, schema);
  if (pending.length === 0) return;
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    `the read models in schema ${schema} are not up to date (${pending.join(", ")}); run \`signalbox migrate\` first`,
  );
}

async function verifyIn(
  client: PoolClient,
  schemas: Schemas,
  { log, projections, onProgress }: UpkeepOptions,
): Promise<Verification> {
  // The first query of the transaction takes the snapshot that all comparing rests on.
  const head = await readCheckpoint(client, schemas.live);
  await createScratch(client, schemas.scratch);
  const damage: Difference[] = [];
  const records = undamaged(log.read(log.subjects.all, 0n, head), damage);
  const projector = createProjector(client, projections);
  await fold({ records, head, apply: (batch) => projector.applyWithin(batch), onProgress });
  await analyze(client, schemas.scratch);
  damage.push(...(await findBrokenLinks(client, schemas.scratch, maxDifferences)));
  const found = damage.length > 0 ? damage : await compareSchemas(client, schemas, maxDifferences + 1);
  return {
    ...(await countEvents(client, schemas.scratch)),
    head,
    differences: found.slice(0, maxDifferences),
    complete: found.length <= maxDifferences,
  };
}

/** The records up to the first one that is damaged or missing; those behind it are only looked at. */
async function* undamaged(records: AsyncIterable<EventRecord>, damage: Difference[]): AsyncGenerator<EventRecord> {
  let before = 0n;
  for await (const record of records) {
    const { position, prevHash, hash, body } = record;
    if (damage.length > maxDifferences) return;
    for (let missing = before + 1n; missing < position && damage.length <= maxDifferences; missing++) {
      damage.push({ table: "log", key: String(missing), kind: "missing", columns: [] });
    }
    before = position;
    if (!equalBytes(hash, chainHash(prevHash, body))) {
      damage.push({ table: "log", key: String(position), kind: "changed", columns: ["hash"] });
    }
    if (damage.length === 0) yield record;
  }
}

async function readCheckpoint(client: PoolClient, live: string): Promise<bigint> {
  const text = `select position from ${live}.checkpoints where name = 'projector'`;
  const { rows } = await client.query<{ position: bigint }>(text);
  return rows[0]?.position ?? 0n;
}
