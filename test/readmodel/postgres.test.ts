import { afterAll, beforeAll, expect, test } from "vitest";
import { openPostgres, transaction } from "../../src/readmodel/postgres.ts";
import { freePort } from "../../src/stack/ports.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

test("int8 comes as bigint, whatever its size", async () => {
  const text =
    "select 9223372036854775807 as largest, -9223372036854775808 as smallest, 1::int8 as one, null::int8 as none";
  expect(await rowsOf(backend.postgres, text)).toEqual([
    { largest: 9223372036854775807n, smallest: -9223372036854775808n, one: 1n, none: null },
  ]);
});

test("connections look at the schema they were opened for", async () => {
  expect(await rowsOf(backend.postgres, "select current_schema() as schema")).toEqual([{ schema: backend.schema }]);
});

test("a transaction is all or nothing", async () => {
  const { postgres } = backend;
  const insert = (name: string) => `insert into checkpoints (name, position) values ('${name}', 1)`;
  await postgres.withClient((client) => transaction(client, () => client.query(insert("kept"))));
  const failing = postgres.withClient((client) =>
    transaction(client, async () => {
      await client.query(insert("lost"));
      throw new Error("changed my mind");
    }),
  );
  await expect(failing).rejects.toThrow("changed my mind");
  expect(await rowsOf(postgres, "select name from checkpoints where name in ('kept', 'lost')")).toEqual([
    { name: "kept" },
  ]);
});

test("a database that is away is STORE_UNAVAILABLE", async () => {
  const url = `postgres://127.0.0.1:${await freePort()}/nowhere`;
  await using postgres = openPostgres({ url, log: backend.logger });
  const away = { reason: "STORE_UNAVAILABLE" };
  await expect(postgres.db.query({ name: "one", text: "select 1" })).rejects.toMatchObject(away);
  await expect(postgres.withClient(async () => {})).rejects.toMatchObject(away);
});

test("a connection that is killed is STORE_UNAVAILABLE, and the next query has a new one", async () => {
  const { postgres } = backend;
  const killed = postgres.withClient((client) => client.query("select pg_terminate_backend(pg_backend_pid())"));
  await expect(killed).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  expect(await rowsOf(postgres, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a wrong statement stays the error that it is", async () => {
  await expect(rowsOf(backend.postgres, "select nothing")).rejects.toThrow('column "nothing" does not exist');
});
