import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate, pendingMigrations, pgIdentifier } from "../../src/readmodel/migrate.ts";
import { openPostgres, transaction } from "../../src/readmodel/postgres.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";
import { rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

/** A schema that is not there yet, and a pool whose connections look at it. */
function newSchema() {
  const schema = `${backend.schema}_${randomBytes(4).toString("hex")}`;
  return { schema, postgres: openPostgres({ url: backend.databaseUrl, schema, log: backend.logger }) };
}

test("programs that migrate at the same time apply each file once", async () => {
  const { schema, postgres } = newSchema();
  await using _ = postgres;
  const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(postgres, schema)));
  const recorded = await rowsOf<{ name: string }>(postgres, "select name from migrations order by name");
  expect(applied.filter((names) => names.length > 0)).toEqual([recorded.map(({ name }) => name)]);
  expect(await migrate(postgres, schema)).toEqual([]);
  expect(await rowsOf(postgres, "select name, position from checkpoints")).toEqual([
    { name: "projector", position: 0n },
  ]);
});

test("a connection that migrated another schema comes back to its own", async () => {
  const { schema, postgres } = newSchema();
  await using one = openPostgres({ url: backend.databaseUrl, schema, log: backend.logger, maxConnections: 1 });
  await migrate(one, schema);
  await migrate(one, `${schema}_b`);
  expect(await rowsOf(one, "select current_schema() as schema")).toEqual([{ schema }]);
  await postgres[Symbol.asyncDispose]();
});

test("a database of a newer program is refused and left alone", async () => {
  const { schema, postgres } = newSchema();
  await using _ = postgres;
  await migrate(postgres, schema);
  await rowsOf(postgres, "insert into migrations (name, sha256) values ('9999_future.sql', 'x')");
  const newer = { reason: "STORE_UNAVAILABLE", message: expect.stringContaining("9999_future.sql") as string };
  await expect(migrate(postgres, schema)).rejects.toMatchObject(newer);
  await expect(pendingMigrations(postgres, schema)).rejects.toMatchObject(newer);
  await expect(migrate(postgres, schema)).rejects.toThrow("newer Signalbox");
});

test("a file that was applied with another content is refused", async () => {
  const { schema, postgres } = newSchema();
  await using _ = postgres;
  await migrate(postgres, schema);
  await rowsOf(postgres, "update migrations set sha256 = 'x'");
  await expect(migrate(postgres, schema)).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
    message: expect.stringContaining("another content") as string,
  });
});

test("a refusal does not keep the next program from migrating", async () => {
  const { schema, postgres } = newSchema();
  await using _ = postgres;
  await migrate(postgres, schema);
  await rowsOf(postgres, "update migrations set sha256 = 'x'");
  await expect(migrate(postgres, schema)).rejects.toThrow("another content");
  expect(await migrate(postgres, `${schema}_c`)).not.toEqual([]);
});

test("pending migrations are named before they are applied, and not after", async () => {
  const { schema, postgres } = newSchema();
  await using _ = postgres;
  const pending = await pendingMigrations(postgres, schema);
  expect(pending.length).toBeGreaterThan(0);
  expect(await migrate(postgres, schema)).toEqual(pending);
  expect(await pendingMigrations(postgres, schema)).toEqual([]);
});

/** The tables of version 0.1, empty. */
async function openOldTables() {
  const { schema, postgres } = newSchema();
  const first = await readFile(new URL("../../src/readmodel/migrations/0001_foundation.sql", import.meta.url), "utf8");
  const sha256 = createHash("sha256").update(first).digest("hex");
  await rowsOf(postgres, `create schema ${pgIdentifier(schema)}`);
  await rowsOf(postgres, first);
  await rowsOf(
    postgres,
    "create table migrations (name text primary key, sha256 text, apply_time timestamptz default now())",
  );
  await rowsOf(postgres, `insert into migrations (name, sha256) values ('0001_foundation.sql', '${sha256}')`);
  return { schema, postgres };
}

const oldEvent =
  "insert into events select 1, gen_random_uuid(), 'ws', '', 'run', 'run_1', 1, 'run.created', '', '', now(), '', '', ''";

test("tables of version 0.1 are emptied, to be folded again with what rows have gained, and stay append-only", async () => {
  const { schema, postgres } = await openOldTables();
  await using _ = postgres;
  await rowsOf(postgres, oldEvent);
  await rowsOf(
    postgres,
    `insert into runs (workspace_id, run_id, create_position, last_position, room_id, agent_id, handler, status, labels,
      create_time, resource) values ('ws', 'run_1', 1, 1, '', '', 'echo', 1, '{}', now(), '')`,
  );
  await rowsOf(postgres, "update checkpoints set position = 1");

  expect(await migrate(postgres, schema)).toContain("0002_runs.sql");
  expect(await rowsOf(postgres, "select position from checkpoints")).toEqual([{ position: 0n }]);
  expect(await rowsOf(postgres, "select run_id from runs union all select stream_id from events")).toEqual([]);
  await rowsOf(postgres, oldEvent);
  await expect(rowsOf(postgres, "delete from events")).rejects.toThrow("append-only");
});

test("a batch that an older projector is writing is waited for", async () => {
  const { schema, postgres } = await openOldTables();
  await using _ = postgres;
  const migrated = await postgres.withClient(async (projector) => {
    const migrating = await transaction(projector, async () => {
      await projector.query("select position from checkpoints for update");
      const promise = migrate(postgres, schema);
      const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%checkpoints%'
        and pid in (select pid from pg_locks where relation = 'checkpoints'::regclass)`;
      await until(async () => (await rowsOf(postgres, waiting)).length > 0, { what: "the migration to wait" });
      await projector.query(oldEvent);
      return { promise };
    });
    return migrating.promise;
  });
  expect(migrated).toContain("0012_incidents.sql");
  expect(await rowsOf(postgres, "select stream_id from events")).toEqual([]);
});

test.each(["", "A", "a-b", 'a"b', "1a", "a b", "a".repeat(64)])("%j is no plain identifier", (name) => {
  expect(() => pgIdentifier(name)).toThrow("not a plain identifier");
});
