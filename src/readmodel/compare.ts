import type { PoolClient } from "pg";
import { unhurried } from "./upkeep.ts";

/** Something that is not as the log says. */
export interface Difference {
  /** The table, or `log` when the log itself is damaged. */
  readonly table: string;
  /** The primary key with `/` between its columns; the position in the log. */
  readonly key: string;
  /** `missing` from where it should be, `extra` where nothing should be, or there but `changed`. */
  readonly kind: "missing" | "extra" | "changed";
  /** The columns that have other values; empty unless `changed`. */
  readonly columns: readonly string[];
}

/** The live tables and those folded again, in quoted schemas of one database. */
export interface Schemas {
  readonly live: string;
  readonly scratch: string;
}

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  readonly keyColumns: readonly string[];
}

/** Compares every table row by row, inside the database. At most `limit` differences, by table and key. */
export async function compareSchemas(client: PoolClient, schemas: Schemas, limit: number): Promise<Difference[]> {
  const found: Difference[] = [];
  for (const table of await listTables(client, schemas.scratch)) {
    found.push(...(await compareTable(client, schemas, table, limit - found.length)));
    if (found.length >= limit) break;
  }
  return found;
}

/** What was derived from the log: every table but the one that says which migrations made them. */
async function listTables(client: PoolClient, scratch: string): Promise<Table[]> {
  const { rows } = await client.query<{ name: string; columns: string[]; key_columns: string[] }>({
    text: `
      select c.relname as name,
        array_agg(a.attname::text order by a.attnum) as columns,
        array_agg(a.attname::text order by array_position(i.indkey::smallint[], a.attnum))
          filter (where a.attnum = any (i.indkey)) as key_columns
      from pg_class c
      join pg_index i on i.indrelid = c.oid and i.indisprimary
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relnamespace = $1::regnamespace and c.relkind = 'r'
      group by c.relname
      order by c.relname`,
    values: [scratch],
  });
  return rows.map(({ name, columns, key_columns: keyColumns }) => ({ name, columns, keyColumns }));
}

async function compareTable(
  client: PoolClient,
  { live, scratch }: Schemas,
  { name, columns, keyColumns }: Table,
  limit: number,
): Promise<Difference[]> {
  const [firstKey = ""] = keyColumns;
  const each = (of: readonly string[], write: (column: string) => string) => of.map(write).join(", ");
  const key = each(keyColumns, (column) => `coalesce(live.${column}, log.${column})`);
  const text = `
    select concat_ws('/', ${key}) as key,
      live.${firstKey} is null as missing,
      log.${firstKey} is null as extra,
      array_remove(array[${each(columns, (column) => `case when live.${column} is distinct from log.${column} then '${column}' end`)}], null) as columns
    from ${live}.${name} as live
    full join ${scratch}.${name} as log using (${keyColumns.join(", ")})
    where live.${firstKey} is null or log.${firstKey} is null
      or (${each(columns, (column) => `live.${column}`)}) is distinct from (${each(columns, (column) => `log.${column}`)})
    order by ${key}
    limit $1`;
  const { rows } = await client.query<{ key: string; missing: boolean; extra: boolean; columns: string[] }>(
    unhurried(text, [limit]),
  );
  return rows.map(({ key: rowKey, missing, extra, columns: different }) => ({
    table: name,
    key: rowKey,
    kind: missing ? "missing" : extra ? "extra" : "changed",
    columns: missing || extra ? [] : different,
  }));
}
