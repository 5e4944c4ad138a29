import type { PoolClient } from "pg";
import type { Difference } from "./compare.ts";
import { createTables } from "./migrate.ts";
import { unhurried } from "./upkeep.ts";

/** Makes empty read models in a schema that lasts as long as the transaction, and turns to them. */
export async function createScratch(client: PoolClient, scratch: string): Promise<void> {
  await client.query(`create schema ${scratch}`);
  await client.query(`set local search_path = ${scratch}`);
  await createTables(client);
  // A log whose sequences or ids repeat must fit in as well: finding that out is the purpose.
  await client.query("drop index events_by_id");
  await client.query("drop index events_by_stream");
}

/** Tells the planner how large the tables have become: nobody else sees them, so nobody else does it. */
export async function analyze(client: PoolClient, scratch: string): Promise<void> {
  const { rows } = await client.query<{ tables: string }>({
    text: "select string_agg(quote_ident(relname), ', ') as tables from pg_class where relnamespace = $1::regnamespace and relkind = 'r'",
    values: [scratch],
  });
  await client.query(unhurried(`analyze ${rows[0]?.tables}`));
}

/** The events whose sequence or previous hash does not follow on the aggregate's event before them. */
export async function findBrokenLinks(client: PoolClient, scratch: string, limit: number): Promise<Difference[]> {
  const text = `
    select position, stream_sequence = last_sequence + 1 as in_sequence, prev_hash = last_hash as chained
    from (
      select position, stream_sequence, prev_hash,
        lag(stream_sequence, 1, 0::bigint) over aggregate as last_sequence,
        lag(hash, 1, decode(repeat('00', 32), 'hex')) over aggregate as last_hash
      from ${scratch}.events
      window aggregate as (partition by workspace_id, stream_type, stream_id order by position)
    ) as linked
    where stream_sequence <> last_sequence + 1 or prev_hash <> last_hash
    order by position
    limit $1`;
  const { rows } = await client.query<{ position: bigint; in_sequence: boolean; chained: boolean }>(
    unhurried(text, [limit]),
  );
  return rows.map(({ position, in_sequence: inSequence, chained }) => ({
    table: "log",
    key: String(position),
    kind: "changed",
    columns: [...(inSequence ? [] : ["stream_sequence"]), ...(chained ? [] : ["prev_hash"])],
  }));
}

/** How many events there are, and of how many aggregates. */
export async function countEvents(client: PoolClient, scratch: string): Promise<{ events: number; streams: number }> {
  const text = `select count(*) as events, count(*) filter (where stream_sequence = 1) as streams from ${scratch}.events`;
  const { rows } = await client.query<{ events: bigint; streams: bigint }>(unhurried(text));
  return { events: Number(rows[0]?.events ?? 0n), streams: Number(rows[0]?.streams ?? 0n) };
}
