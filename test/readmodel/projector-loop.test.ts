import type { Logger } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openFeed } from "../../src/eventlog/feed.ts";
import { openNats } from "../../src/eventlog/nats.ts";
import { createPositions } from "../../src/readmodel/positions.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { runProjector } from "../../src/readmodel/projector-loop.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";
import { appendRuns } from "./some-runs.ts";
import { foldInMemory, projections, readTables, rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

/** One server with the projector's role. `leads` counts how often it took the lead. */
async function openServer() {
  const { databaseUrl, natsUrl, schema, prefix } = backend;
  await using opening = new AsyncDisposableStack();
  let leads = 0;
  const log = Object.assign(Object.create(backend.logger) as Logger, {
    info: (_fields: object, message: string) => {
      if (message === "took the lead") leads++;
    },
  });
  const nats = opening.use(await openNats({ url: natsUrl, name: prefix, log }));
  const postgres = opening.use(openPostgres({ url: databaseUrl, schema, log }));
  const feed = opening.use(await openFeed(backend.log, log));
  const positions = opening.use(createPositions({ nats, postgres, subject: `${prefix}.positions` }));
  const stop = new AbortController();
  const running = runProjector({ postgres, schema, feed, projections, positions, log, signal: stop.signal });
  opening.defer(async () => {
    stop.abort();
    await running;
  });
  const open = opening.move();
  return {
    positions,
    get leads() {
      return leads;
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** The session that holds the projector's lock in this schema. */
async function leader(): Promise<number | undefined> {
  const text =
    "select pid from pg_locks where locktype = 'advisory' and classid = 23297 and objid = hashtext($1)::bigint & 4294967295 and granted";
  return (await rowsOf<{ pid: number }>(backend.postgres, text, [backend.schema]))[0]?.pid;
}

let started = 0;
async function addRuns(count: number): Promise<bigint> {
  started += 1_000;
  return (await appendRuns(createAppender(backend.log), count, started)).at(-1)!.position;
}

/** What the tables hold, and what they must. */
async function tables() {
  const { log } = backend;
  const records = await Array.fromAsync(log.read(log.subjects.all, 0n, (await log.bounds()).head));
  return { found: await readTables(backend.postgres), wanted: foldInMemory(records) };
}

const within = () => AbortSignal.timeout(15_000);

test("of two servers one projects, and both hear how far it is", async () => {
  await using first = await openServer();
  await using second = await openServer();
  await until(() => first.leads + second.leads === 1, { what: "a leader" });
  const position = await addRuns(4);
  await Promise.all([first, second].map(({ positions }) => positions.reach(position, within())));
  expect(first.leads + second.leads).toBe(1);
  const { found, wanted } = await tables();
  expect(found).toEqual(wanted);
});

test("when the leader's connection is killed, again and again, somebody takes over and nothing is lost or repeated", async () => {
  await using first = await openServer();
  await using second = await openServer();
  let position = 0n;
  for (let i = 0; i < 3; i++) {
    const pid = await until(leader, { what: "a leader" });
    const appending = addRuns(6);
    await rowsOf(backend.postgres, "select pg_terminate_backend($1)", [pid]);
    position = await appending;
    const next = await until(async () => ((await leader()) === pid ? undefined : leader()), { what: "another leader" });
    expect(next).not.toBe(pid);
  }
  await Promise.all([first, second].map(({ positions }) => positions.reach(position, within())));
  expect(first.leads + second.leads).toBe(4);
  const { found, wanted } = await tables();
  expect(found).toEqual(wanted);
});

test("a leader whose connection is killed while nothing happens takes the lead anew", async () => {
  await using server = await openServer();
  const pid = await until(leader, { what: "a leader" });
  await rowsOf(backend.postgres, "select pg_terminate_backend($1)", [pid]);
  await until(() => server.leads === 2, { what: "the lead to be taken again" });
  expect(await leader()).not.toBe(pid);
});

test("a server that stops hands the lead over", async () => {
  await using second = await openServer();
  {
    await using first = await openServer();
    await until(() => first.leads + second.leads === 1, { what: "a leader" });
  }
  await second.positions.reach(await addRuns(2), within());
  const { found, wanted } = await tables();
  expect(found).toEqual(wanted);
});
