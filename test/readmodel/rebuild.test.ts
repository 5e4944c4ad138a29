import { afterAll, beforeAll, expect, test } from "vitest";
import type { EventLog } from "../../src/eventlog/event-log.ts";
import { openFeed } from "../../src/eventlog/feed.ts";
import { createPositions } from "../../src/readmodel/positions.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { createProjector } from "../../src/readmodel/projector.ts";
import { runProjector } from "../../src/readmodel/projector-loop.ts";
import { rebuild } from "../../src/readmodel/rebuild.ts";
import { verify } from "../../src/readmodel/verify.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";
import { appendRuns } from "./some-runs.ts";
import { dump, foldInMemory, project, projections, readTables, rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

const everything = async (log: EventLog) => Array.fromAsync(log.read(log.subjects.all, 0n, (await log.bounds()).head));

/** Schemas beside the live one. */
async function leftovers(): Promise<unknown[]> {
  return rowsOf(backend.postgres, "select nspname from pg_namespace where nspname like $1", [`${backend.schema}\\_%`]);
}

/** The projector as a server runs it, on a pool of its own. */
async function openProjector() {
  const { databaseUrl: url, schema, logger: log, nats, prefix } = backend;
  const stop = new AbortController();
  const postgres = openPostgres({ url, schema, log });
  const feed = await openFeed(backend.log, log);
  const positions = createPositions({ nats, postgres, subject: `${prefix}.positions` });
  const running = runProjector({ postgres, schema, feed, projections, positions, log, signal: stop.signal });
  return {
    positions,
    postgres,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await positions[Symbol.asyncDispose]();
      await feed[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** The session that is about to swap: it holds the live checkpoint. */
async function swapper(): Promise<{ pid: number }[]> {
  const text = `
    select pid from pg_locks join pg_class on pg_class.oid = relation
    where relname = 'checkpoints' and mode = 'ExclusiveLock' and relnamespace = $1::regnamespace`;
  return rowsOf(backend.postgres, text, [backend.schema]);
}

const within = () => AbortSignal.timeout(20_000);

let started = 0;
/** More events in the log. */
async function addRuns(count: number): Promise<bigint> {
  started += 1_000;
  const records = await appendRuns(createAppender(backend.log), count, started);
  return records.at(-1)!.position;
}

test("rebuilt tables are what they were, and take the place of damaged ones", async () => {
  const { postgres, schema, log } = backend;
  await addRuns(12);
  await project(postgres, await everything(log));
  const before = await dump(postgres, schema);
  await postgres.withClient((client) => client.query("delete from steps; update runs set status = 7"));
  const progress: bigint[] = [];
  const rebuilt = await rebuild({ ...backend, projections, onProgress: ({ position }) => progress.push(position) });
  expect(rebuilt).toEqual({ position: 60n });
  expect(progress.at(-1)).toBe(60n);
  expect(await dump(postgres, schema)).toEqual(before);
  expect(await leftovers()).toEqual([]);
});

test("tables that were dropped are there again", async () => {
  const { postgres, schema, log } = backend;
  await postgres.withClient((client) => client.query(`drop schema ${schema} cascade`));
  await rebuild({ ...backend, projections });
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
});

test("connections of the pool see the live tables afterwards, whatever they did before", async () => {
  const { postgres } = backend;
  const look = { name: "count_runs", text: "select count(*) as count from runs" };
  const counts = () =>
    Promise.all(
      Array.from({ length: 10 }, async () => (await postgres.db.query<{ count: bigint }>(look)).rows[0]?.count),
    );
  // Every connection has the statement prepared against the tables that are about to go.
  const before = await counts();
  await rebuild({ ...backend, projections });
  expect(await counts()).toEqual(before);
  await postgres.withClient((client) => client.query("delete from runs where run_id = 'run_1000'"));
  expect(await counts()).toEqual(before.map((count) => count! - 1n));
  await rebuild({ ...backend, projections });
  expect(await counts()).toEqual(before);
});

test("the live projector goes on during a rebuild and after it", async () => {
  const { log, postgres } = backend;
  await using projector = await openProjector();
  await projector.positions.reach(await addRuns(3), within());
  let during = 0n;
  const busy: EventLog = {
    ...log,
    async *read(...args) {
      if (during === 0n) {
        // Events come in and are projected while the new tables are being made.
        during = await addRuns(4);
        await projector.positions.reach(during, within());
      }
      yield* log.read(...args);
    },
  };
  expect(await rebuild({ ...backend, log: busy, projections })).toEqual({ position: during });
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
  await projector.positions.reach(await addRuns(5), within());
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
  expect(await verify({ ...backend, projections })).toMatchObject({ differences: [] });
});

test("a projector that lags behind the new tables goes on from where they are", async () => {
  const { log, postgres } = backend;
  const from = (await log.bounds()).head;
  const appender = createAppender(log);
  await postgres.withClient(async (client) => {
    const lagging = createProjector(client, projections);
    const first = await appendRuns(appender, 2, 500_000);
    await lagging.apply(first.slice(0, 6));
    await rebuild({ ...backend, projections });
    // The batch that it had in hand, and what came since: rows that it remembers are older than those in the new tables.
    const later = await appender.append({ id: "run_500000", roomId: "room_1", workspaceId: "ws_a" });
    await lagging.apply([...first.slice(6), later]);
  });
  expect((await log.bounds()).head).toBe(from + 11n);
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
});

test("what a projector remembers of damaged tables does not come back into the new ones", async () => {
  const { log, postgres } = backend;
  const appender = createAppender(log);
  const stream = { id: "run_damaged" };
  await postgres.withClient(async (client) => {
    await project(postgres, [await appender.append(stream)]);
    await client.query(
      "update runs set resource = (select resource from runs where run_id = 'run_1000') where run_id = 'run_damaged'",
    );
    const live = createProjector(client, projections);
    await live.apply([await appender.append(stream)]);
    await rebuild({ ...backend, projections });
    await live.apply([await appender.append(stream)]);
  });
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
});

test("a transaction of the projector that waits for the swap continues in the new tables, and reads do not wait", async () => {
  const { log, postgres } = backend;
  await using projector = await openProjector();
  await projector.positions.reach((await log.bounds()).head, within());
  const waiting = `
    select 1 from pg_stat_activity
    where wait_event_type = 'Lock' and query like '%from checkpoints%for update'`;
  let last = 0n;
  let read: unknown[] = [];
  const atSwap: EventLog = {
    ...log,
    bounds: async () => {
      if (last === 0n && (await swapper()).length > 0) {
        last = await addRuns(2);
        await until(async () => (await rowsOf(postgres, waiting)).length > 0, { what: "the projector to wait" });
        read = await rowsOf(postgres, "select name from checkpoints");
      }
      return log.bounds();
    },
  };
  const { position } = await rebuild({ ...backend, log: atSwap, projections });
  expect(last).toBeGreaterThan(0n);
  expect(read).toEqual([{ name: "projector" }]);
  expect(position).toBe(last);
  await projector.positions.reach(await addRuns(2), within());
  expect(await readTables(postgres)).toEqual(foldInMemory(await everything(log)));
});

test("a rebuild that is cut off changes nothing, and the next one removes what it left", async () => {
  const { log, postgres, schema } = backend;
  const before = await dump(postgres, schema);
  const cutOff: EventLog = {
    ...log,
    async *read(...args) {
      for await (const record of log.read(...args)) {
        yield record;
        if (record.position === 30n) throw new Error("no answer");
      }
    },
  };
  await expect(rebuild({ ...backend, log: cutOff, projections })).rejects.toThrow("no answer");
  expect(await leftovers()).toEqual([{ nspname: `${schema}_next` }]);
  expect(await dump(postgres, schema)).toEqual(before);
  await rebuild({ ...backend, projections });
  expect(await leftovers()).toEqual([]);
  expect(await dump(postgres, schema)).toEqual(before);
});

test("a rebuild whose connections are killed in the middle of the swap changes nothing", async () => {
  const { log, postgres, schema } = backend;
  const before = await dump(postgres, schema);
  let killed = 0;
  const killing: EventLog = {
    ...log,
    bounds: async () => {
      for (const { pid } of await swapper()) {
        await rowsOf(postgres, "select pg_terminate_backend($1)", [pid]);
        killed++;
      }
      return log.bounds();
    },
  };
  await expect(rebuild({ ...backend, log: killing, projections })).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
  });
  expect(killed).toBe(1);
  expect(await dump(postgres, schema)).toEqual(before);
  await rebuild({ ...backend, projections });
  expect(await dump(postgres, schema)).toEqual(before);
});

test("while one rebuild is under way another one and a verification are refused", async () => {
  const { log } = backend;
  let refused = 0;
  const busy: EventLog = {
    ...log,
    async *read(...args) {
      for (const work of [rebuild, verify]) {
        await expect(work({ ...backend, projections })).rejects.toMatchObject({ reason: "CONTENTION" });
        refused++;
      }
      yield* log.read(...args);
    },
  };
  await rebuild({ ...backend, log: busy, projections });
  expect(refused).toBeGreaterThanOrEqual(2);
});

test("a schema name without room for another one beside it is refused", async () => {
  const schema = "s".repeat(57);
  await expect(rebuild({ ...backend, schema, projections })).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
});
