import { create } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import type { ClientBase, QueryConfig } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunCanceledSchema, RunCreatedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { createProjector } from "../../src/readmodel/projector.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { migrate } from "../../src/readmodel/migrate.ts";
import { appendRuns } from "./some-runs.ts";
import { foldInMemory, project, projections, readTables, rowsOf } from "./tables.ts";

let backend: TestBackend;
let records: EventRecord[];
beforeAll(async () => {
  backend = await openTestBackend();
  records = await appendRuns(createAppender(createEventLog(createMemoryStore(), createSubjects())), 12);
});
afterAll(() => backend?.[Symbol.asyncDispose]());

let schemas = 0;

/** Empty tables of one test. */
async function openTables() {
  const schema = `${backend.schema}_${++schemas}`;
  const postgres = openPostgres({ url: backend.databaseUrl, schema, log: backend.logger });
  await migrate(postgres, schema);
  return postgres;
}

const checkpoint = async (postgres: Awaited<ReturnType<typeof openTables>>) =>
  (await rowsOf<{ position: bigint }>(postgres, "select position from checkpoints"))[0]?.position;

test("tables are the fold of the log", async () => {
  await using postgres = await openTables();
  await project(postgres, records);
  expect(await readTables(postgres)).toEqual(foldInMemory(records));
  expect(await checkpoint(postgres)).toBe(60n);
  const [row] = await rowsOf(
    postgres,
    "select status, labels, room_id, handler, create_time from runs where run_id = 'run_0'",
  );
  expect(row).toEqual({
    status: 5,
    labels: { team: "signals", "9": "nine", "10": "ten", quote: `a "b" \\ {c}, é` },
    room_id: "room_1",
    handler: "echo",
    create_time: new Date(Date.UTC(2026, 0, 1)),
  });
});

test("the events table holds the stored bytes", async () => {
  await using postgres = await openTables();
  await project(postgres, records);
  const rows = await rowsOf<{ position: bigint; body: Buffer; hash: Buffer; prev_hash: Buffer; event_id: string }>(
    postgres,
    "select position, body, hash, prev_hash, event_id from events order by position",
  );
  expect(rows).toEqual(
    records.map(({ position, body, hash, prevHash, event }) => ({
      position,
      body: Buffer.from(body),
      hash: Buffer.from(hash),
      prev_hash: Buffer.from(prevHash),
      event_id: event.eventId,
    })),
  );
});

test("however the log is cut into batches, delivered again and handed to new projectors, the tables are the same", async () => {
  const scenario = fc.array(
    fc.record({ size: fc.integer({ min: 1, max: 30 }), repeat: fc.nat(10), restart: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  );
  const wanted = foldInMemory(records);
  await fc.assert(
    fc.asyncProperty(scenario, async (batches) => {
      await using postgres = await openTables();
      await postgres.withClient(async (client) => {
        let projector = createProjector(client, projections);
        let done = 0;
        for (const { size, repeat, restart } of [...batches, { size: records.length, repeat: 0, restart: false }]) {
          if (restart) projector = createProjector(client, projections);
          const end = Math.min(done + size, records.length);
          await projector.apply(records.slice(Math.max(0, done - repeat), end));
          done = end;
        }
      });
      expect(await readTables(postgres)).toEqual(wanted);
      expect(await checkpoint(postgres)).toBe(60n);
    }),
    { numRuns: 15 },
  );
});

test("a batch that fails in the middle leaves nothing, and the same projector goes on", async () => {
  await using postgres = await openTables();
  await postgres.withClient(async (client) => {
    let failing = "";
    const flaky = Object.assign(Object.create(client) as typeof client, {
      query: (query: { name?: string }) => {
        if (query.name === failing) throw new Error(`${failing} fails`);
        return client.query(query as never) as unknown;
      },
    });
    const projector = createProjector(flaky, projections);
    await projector.apply(records.slice(0, 20));
    for (const name of ["events_insert", "runs_upsert", "tool_calls_upsert", "checkpoint_write"]) {
      failing = name;
      await expect(projector.apply(records.slice(20, 40))).rejects.toThrow(`${name} fails`);
      expect(await readTables(postgres)).toEqual(foldInMemory(records.slice(0, 20)));
      expect(await checkpoint(postgres)).toBe(20n);
    }
    failing = "";
    await projector.apply(records.slice(20));
    expect(await readTables(postgres)).toEqual(foldInMemory(records));
  });
});

test("a projector notices that another one has moved the tables on", async () => {
  await using postgres = await openTables();
  await postgres.withClient(async (client) => {
    const stale = createProjector(client, projections);
    await stale.apply(records.slice(0, 20));
    await project(postgres, records.slice(20, 40));
    await stale.apply(records.slice(15));
    expect(await readTables(postgres)).toEqual(foldInMemory(records));
  });
});

test("a gap is refused", async () => {
  await using postgres = await openTables();
  await project(postgres, records.slice(0, 20));
  const gap = project(postgres, records.slice(21, 30));
  await expect(gap).rejects.toThrow("the read models are at position 20, but the next event to project is 22");
  expect(await checkpoint(postgres)).toBe(20n);
});

test("a part of the caller's transaction goes with it", async () => {
  await using postgres = await openTables();
  await postgres.withClient(async (client) => {
    await client.query("begin");
    await createProjector(client, projections).applyWithin(records);
    await client.query("rollback");
  });
  expect(await checkpoint(postgres)).toBe(0n);
  expect((await readTables(postgres))["runs"]).toEqual([]);
});

test.each(["update events set type = 'x'", "delete from events", "truncate events"])("%s is refused", async (text) => {
  await using postgres = await openTables();
  await project(postgres, records);
  await expect(rowsOf(postgres, text)).rejects.toThrow("events are append-only");
  expect(await rowsOf(postgres, "select count(*) from events where type <> 'x'")).toEqual([{ count: 60n }]);
});

// A parameter is one string, which has an end: a batch that does not fit into it could never be projected.
test("large rows are written in pieces, however small the events about them are", async () => {
  await using postgres = await openTables();
  const appender = createAppender(createEventLog(createMemoryStore(), createSubjects()));
  const input = create(ValueSchema, { kind: { case: "stringValue", value: "x".repeat(1_000_000) } });
  const runs = Array.from({ length: 20 }, (_, index) => ({ id: `run_${index}` }));
  const eventsOf = (payload: EventPayload) => Promise.all(runs.map((run) => appender.append(run, payload)));
  const created = await eventsOf({ case: "runCreated", value: create(RunCreatedSchema, { handler: "echo", input }) });
  const canceled = await eventsOf({ case: "runCanceled", value: create(RunCanceledSchema) });
  const written: number[] = [];
  await postgres.withClient(async (client) => {
    const query = (statement: { name?: string; values?: unknown[][] }) => {
      if (statement.name === "runs_upsert") written.push(statement.values?.[0]?.length ?? 0);
      return client.query(statement as QueryConfig);
    };
    const projector = createProjector({ query } as unknown as ClientBase, projections);
    await projector.apply(created);
    await projector.apply(canceled);
  });
  expect(written.reduce((sum, rows) => sum + rows)).toBe(40);
  expect(Math.max(...written)).toBe(8);
  expect(await rowsOf(postgres, "select count(*)::int as canceled from runs where status = 7")).toEqual([
    { canceled: 20 },
  ]);
});
