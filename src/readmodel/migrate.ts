import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { ClientBase } from "pg";
import { SignalboxError } from "../kernel/errors.ts";
import { liveSchema, type Postgres, transaction } from "./postgres.ts";
import { unhurried } from "./upkeep.ts";

/** One forward migration. */
interface Migration {
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

/** All programs that migrate one database take turns on this advisory lock. */
const migrationLock = 0x51_6e_61_1b;

/**
 * Brings a schema up to date, forwards only, under an advisory lock; each file in one transaction. Returns the names of
 * the files applied, empty when there was nothing to do. Refuses (STORE_UNAVAILABLE) a database that is newer than this
 * program or whose applied files differ from ours.
 */
export async function migrate(postgres: Postgres, schema: string = liveSchema): Promise<string[]> {
  const migrations = await readMigrations();
  return postgres.withClient(async (client) => {
    await client.query(unhurried("select pg_advisory_lock($1)", [migrationLock]));
    const applied = await migrateSchema(client, schema, migrations);
    // The connection goes back to the pool as it came. When something throws, it is closed, and the lock with it.
    await client.query("reset search_path");
    await client.query("select pg_advisory_unlock($1)", [migrationLock]);
    return applied;
  });
}

/** The names of the files that `migrate` would apply. Changes nothing, and refuses what `migrate` refuses. */
export async function pendingMigrations(postgres: Postgres, schema: string = liveSchema): Promise<string[]> {
  const known = await readMigrations();
  return postgres.withClient(async (client) => {
    const table = `${pgIdentifier(schema)}.migrations`;
    const found = await client.query<{ found: boolean }>("select to_regclass($1) is not null as found", [table]);
    if (!found.rows[0]?.found) return known.map(({ name }) => name);
    const text = `select name, sha256 from ${table} order by name`;
    const { rows: applied } = await client.query<{ name: string; sha256: string }>(text);
    requireKnown(applied, known);
    return known.slice(applied.length).map(({ name }) => name);
  });
}

/**
 * Makes the tables of the read models, empty, in the schema that the connection's search_path names, as a part of the
 * caller's transaction.
 */
export async function createTables(client: ClientBase): Promise<void> {
  for (const { text } of await readMigrations()) await client.query(text);
}

async function migrateSchema(client: ClientBase, schema: string, migrations: readonly Migration[]): Promise<string[]> {
  const quoted = pgIdentifier(schema);
  await client.query(`create schema if not exists ${quoted}`);
  await client.query(`set search_path = ${quoted}`);
  await client.query(
    "create table if not exists migrations (name text primary key, sha256 text not null, apply_time timestamptz not null default now())",
  );
  const { rows } = await client.query<{ name: string; sha256: string }>(
    "select name, sha256 from migrations order by name",
  );
  requireKnown(rows, migrations);
  const missing = migrations.slice(rows.length);
  for (const { name, text, sha256 } of missing) {
    await transaction(client, async () => {
      // The checkpoint first, as in every transaction that writes to the tables: one of an older program that is under way
      // is waited for, and nobody deadlocks. The first file creates it.
      if (name !== migrations[0]?.name) await client.query(unhurried("select from checkpoints for update"));
      await client.query(unhurried(text));
      await client.query("insert into migrations (name, sha256) values ($1, $2)", [name, sha256]);
    });
  }
  return missing.map(({ name }) => name);
}

function requireKnown(applied: readonly { name: string; sha256: string }[], known: readonly Migration[]): void {
  for (const [index, { name, sha256 }] of applied.entries()) {
    const ours = known[index];
    if (ours === undefined) {
      throw new SignalboxError(
        "STORE_UNAVAILABLE",
        `the database has migration ${name}, which this program does not know: it was used by a newer Signalbox. Start that version or a newer one`,
      );
    }
    if (ours.name !== name || ours.sha256 !== sha256) {
      throw new SignalboxError(
        "STORE_UNAVAILABLE",
        `migration ${name} was applied with another content than this program has; read models can be rebuilt: point DATABASE_URL at an empty database`,
      );
    }
  }
}

async function readMigrations(): Promise<Migration[]> {
  const folder = new URL("migrations/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, folder), "utf8");
      return { name, text, sha256: createHash("sha256").update(text).digest("hex") };
    }),
  );
}

/** A name quoted for SQL. Throws unless it is a plain lower-case identifier. */
export function pgIdentifier(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) throw new Error(`not a plain identifier: ${JSON.stringify(name)}`);
  return `"${name}"`;
}
