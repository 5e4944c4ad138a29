import { beforeAll, afterAll, expect, test, describe } from "vitest";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { chainHash, EventRecord, type StoredMessage } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { migrate } from "../../src/readmodel/migrate.ts";
import { openPostgres, type Postgres } from "../../src/readmodel/postgres.ts";
import { verify } from "../../src/readmodel/verify.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { appendRuns } from "./some-runs.ts";
import { dump, project, projections, rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

let schemas = 0;

/** Twelve runs in a log of their own, 60 events, and tables that are up to them. */
async function openInstallation() {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const appender = createAppender(log);
  const records = await appendRuns(appender, 12);
  const schema = `${backend.schema}_${++schemas}`;
  const postgres = openPostgres({ url: backend.databaseUrl, schema, log: backend.logger });
  await migrate(postgres, schema);
  await project(postgres, records);
  return { log, appender, records, postgres, schema, [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose]() };
}

/** Does what nobody may do. */
async function tamper(postgres: Postgres, text: string): Promise<void> {
  await postgres.withClient(async (client) => {
    await client.query("alter table events disable trigger all");
    const { rowCount } = await client.query(text);
    expect(rowCount).toBeGreaterThan(0);
    await client.query("alter table events enable trigger all");
  });
}

test("tables that are the fold of the log have no differences", async () => {
  await using installation = await openInstallation();
  const seen: bigint[] = [];
  const found = await verify({
    ...installation,
    projections,
    onProgress: ({ position, head }) => {
      seen.push(position);
      expect(head).toBe(60n);
    },
  });
  expect(found).toEqual({ events: 60, streams: 12, head: 60n, differences: [], complete: true });
  expect(seen.at(-1)).toBe(60n);
});

test("an empty installation has no differences", async () => {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const found = await verify({ ...backend, log, projections });
  expect(found).toEqual({ events: 0, streams: 0, head: 0n, differences: [], complete: true });
});

test("events behind the checkpoint are left to the projector", async () => {
  await using installation = await openInstallation();
  await appendRuns(installation.appender, 3, 100);
  expect(await verify({ ...installation, projections })).toMatchObject({ events: 60, head: 60n, differences: [] });
});

describe("is found at its place:", () => {
  const changed = (table: string, key: string, ...columns: string[]) => [{ table, key, kind: "changed", columns }];
  test.each([
    [
      "a flipped byte in the events table",
      "update events set body = set_byte(body, 5, get_byte(body, 5) # 1) where position = 17",
      changed("events", "17", "body"),
    ],
    [
      "a changed filter column of an event",
      "update events set actor_id = 'somebody else' where position = 3",
      changed("events", "3", "actor_id"),
    ],
    [
      "a missing event",
      "delete from events where position = 60",
      [{ table: "events", key: "60", kind: "missing", columns: [] }],
    ],
    [
      "an event that was never recorded",
      "insert into events select 61, gen_random_uuid(), workspace_id, room_id, stream_type, 'run_x', stream_sequence, type, actor_id, correlation_id, create_time, body, prev_hash, hash from events where position = 1",
      [{ table: "events", key: "61", kind: "extra", columns: [] }],
    ],
    [
      "a changed row",
      "update runs set status = 6, labels = '{}' where run_id = 'run_3'",
      changed("runs", "ws_a/run_3", "status", "labels"),
    ],
    [
      "a flipped byte in a resource",
      "update steps set resource = set_byte(resource, 0, get_byte(resource, 0) # 1) where step_id = 'step_4'",
      changed("steps", "ws_b/step_4", "resource"),
    ],
    [
      "a value where there was none",
      "update runs set deadline_time = now() where run_id = 'run_1'",
      changed("runs", "ws_b/run_1", "deadline_time"),
    ],
    [
      "a missing row",
      "delete from tool_calls where tool_call_id = 'tc_7'",
      [{ table: "tool_calls", key: "ws_b/tc_7", kind: "missing", columns: [] }],
    ],
    [
      "an extra row",
      "insert into agents (workspace_id, agent_id, create_position, last_position, status, resource) values ('ws_a', 'agt_x', 1, 1, 1, '')",
      [{ table: "agents", key: "ws_a/agt_x", kind: "extra", columns: [] }],
    ],
    [
      "a row moved to another tenant",
      "update runs set workspace_id = 'ws_b' where run_id = 'run_0'",
      [
        { table: "runs", key: "ws_a/run_0", kind: "missing", columns: [] },
        { table: "runs", key: "ws_b/run_0", kind: "extra", columns: [] },
      ],
    ],
  ])("%s", async (_name, text, differences) => {
    await using installation = await openInstallation();
    await tamper(installation.postgres, text);
    expect(await verify({ ...installation, projections })).toMatchObject({ differences, complete: true });
  });

  /** The log with some of its messages replaced, as a disk or a person might. */
  function damaged(log: EventLog, change: (stored: StoredMessage) => Partial<StoredMessage> | undefined): EventLog {
    return {
      ...log,
      async *read(...args) {
        for await (const { position, subject, body, prevHash, hash } of log.read(...args)) {
          const stored = { position, subject, body, prevHash, hash };
          const other = change(stored);
          if (other !== undefined) yield new EventRecord({ ...stored, ...other });
        }
      },
    };
  }
  const flipped = (bytes: Uint8Array) => bytes.map((byte, index) => (index === 7 ? byte ^ 1 : byte));

  test("a flipped byte in the log", async () => {
    await using installation = await openInstallation();
    const log = damaged(installation.log, ({ position, body }) => (position === 23n ? { body: flipped(body) } : {}));
    const { differences } = await verify({ ...installation, log, projections });
    expect(differences).toEqual(changed("log", "23", "hash"));
  });

  test("an event of the log that was written anew with a right hash of its own", async () => {
    await using installation = await openInstallation();
    const other = createEventLog(createMemoryStore(), createSubjects());
    const [forged] = await appendRuns(createAppender(other), 1);
    const log = damaged(installation.log, ({ position, prevHash }) =>
      position === 1n ? { body: forged!.body, hash: chainHash(prevHash, forged!.body) } : {},
    );
    // The aggregate's second event gives it away.
    const { differences } = await verify({ ...installation, log, projections });
    expect(differences).toEqual(changed("log", "13", "prev_hash"));
  });

  test("an event that is gone from the log", async () => {
    await using installation = await openInstallation();
    const log = damaged(installation.log, ({ position }) => (position === 30n ? undefined : {}));
    const { differences } = await verify({ ...installation, log, projections });
    expect(differences).toEqual([{ table: "log", key: "30", kind: "missing", columns: [] }]);
  });

  test("a log that ends before the tables do", async () => {
    await using installation = await openInstallation();
    const log = damaged(installation.log, ({ position }) => (position > 59n ? undefined : {}));
    const { differences } = await verify({ ...installation, log, projections });
    expect(differences).toContainEqual(changed("checkpoints", "projector", "position")[0]);
    expect(differences).toContainEqual({ table: "events", key: "60", kind: "extra", columns: [] });
  });
});

test("more differences than can be listed are said to be more", async () => {
  await using installation = await openInstallation();
  const text =
    "insert into agents (workspace_id, agent_id, create_position, last_position, status, resource) select 'ws_a', 'agt_' || n, 1, 1, 1, '' from generate_series(1, 1500) n";
  await tamper(installation.postgres, text);
  const found = await verify({ ...installation, projections });
  expect(found.differences).toHaveLength(1_000);
  expect(found.complete).toBe(false);
});

test("a verification changes nothing and leaves nothing, even when it fails", async () => {
  await using installation = await openInstallation();
  const { postgres, schema, log } = installation;
  const before = await dump(postgres, schema);
  await verify({ ...installation, projections });
  const failing: EventLog = {
    ...log,
    async *read(...args) {
      yield* log.read(args[0], args[1], 20n);
      throw new Error("no answer");
    },
  };
  await expect(verify({ ...installation, log: failing, projections })).rejects.toThrow("no answer");
  expect(await dump(postgres, schema)).toEqual(before);
  const left = await rowsOf(postgres, "select nspname from pg_namespace where nspname like $1", [`${schema}\\_%`]);
  expect(left).toEqual([]);
  // The connections that worked elsewhere are back in the pool: every one of them sees the live tables.
  const counts = await Promise.all(Array.from({ length: 10 }, () => rowsOf(postgres, "select count(*) from events")));
  expect(counts.flat()).toEqual(Array.from({ length: 10 }, () => ({ count: 60n })));
});

test("everything goes on during a verification", async () => {
  await using installation = await openInstallation();
  const { postgres, appender } = installation;
  let projected = false;
  const found = await verify({
    ...installation,
    projections,
    onProgress: () => {
      projected = true;
    },
    log: {
      ...installation.log,
      async *read(...args) {
        await project(postgres, await appendRuns(appender, 4, 200));
        yield* installation.log.read(...args);
      },
    },
  });
  expect(projected).toBe(true);
  expect(found).toMatchObject({ head: 60n, events: 60, differences: [] });
  expect(await verify({ ...installation, projections })).toMatchObject({ head: 80n, events: 80, differences: [] });
});

test("while one verification is under way another one is refused", async () => {
  await using installation = await openInstallation();
  let refused = 0;
  const log: EventLog = {
    ...installation.log,
    async *read(...args) {
      await expect(verify({ ...installation, projections })).rejects.toMatchObject({ reason: "CONTENTION" });
      refused++;
      yield* installation.log.read(...args);
    },
  };
  expect(await verify({ ...installation, log, projections })).toMatchObject({ differences: [] });
  expect(refused).toBe(1);
});

test("tables that are not up to date are refused with the way out", async () => {
  await using postgres = openPostgres({ url: backend.databaseUrl, schema: "test_never", log: backend.logger });
  await expect(verify({ ...backend, postgres, schema: "test_never", projections })).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
    message: expect.stringContaining("run `signalbox migrate` first") as string,
  });
});
