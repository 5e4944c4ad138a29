import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate, pendingMigrations, pgIdentifier } from "../../src/readmodel/migrate.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
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

test.each(["", "A", "a-b", 'a"b', "1a", "a b", "a".repeat(64)])("%j is no plain identifier", (name) => {
  expect(() => pgIdentifier(name)).toThrow("not a plain identifier");
});
