import { randomBytes } from "node:crypto";
import { type Logger, pino } from "pino";
import { inject } from "vitest";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { openJetStreamStore } from "../../src/eventlog/jetstream-store.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import { type Nats, openNats } from "../../src/eventlog/nats.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { migrate, pgIdentifier } from "../../src/readmodel/migrate.ts";
import { openPostgres, type Postgres } from "../../src/readmodel/postgres.ts";

/** A log and a database of a test's own, on the servers of the run. Disposing removes its streams and its schema. */
export interface TestBackend extends AsyncDisposable {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  readonly nats: Nats;
  /** First token of every subject. Streams of the test end with `_` and this. */
  readonly prefix: string;
  /** The stream of the log. */
  readonly stream: string;
  readonly store: LogStore;
  readonly log: EventLog;
  readonly postgres: Postgres;
  /** Migrated; empty of rows. */
  readonly schema: string;
  /** Silent unless TEST_LOG names a level. */
  readonly logger: Logger;
}

/** Opens a log and a database of its own for a test file or a test. */
export async function openTestBackend(): Promise<TestBackend> {
  await using opening = new AsyncDisposableStack();
  const natsUrl = inject("natsUrl");
  const databaseUrl = inject("databaseUrl");
  const prefix = `t${randomBytes(5).toString("hex")}`;
  const logger = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  const nats = opening.use(await openNats({ url: natsUrl, name: prefix, log: logger }));
  opening.defer(() => removeStreams(nats, prefix));
  const stream = `EVENTS_${prefix}`;
  const subjects = createSubjects(prefix);
  const store = opening.use(
    await openJetStreamStore({ nats, stream, allSubjects: subjects.all, replicas: 1, log: logger }),
  );
  const schema = `test_${prefix}`;
  const postgres = opening.use(openPostgres({ url: databaseUrl, schema, log: logger }));
  opening.defer(() => removeSchemas(postgres, schema));
  await migrate(postgres, schema);
  const open = opening.move();
  return {
    natsUrl,
    databaseUrl,
    nats,
    prefix,
    stream,
    store,
    log: createEventLog(store, subjects),
    postgres,
    schema,
    logger,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function removeStreams({ jsm }: Nats, prefix: string): Promise<void> {
  for await (const name of jsm.streams.names()) if (name.endsWith(`_${prefix}`)) await jsm.streams.delete(name);
}

async function removeSchemas(postgres: Postgres, schema: string): Promise<void> {
  await postgres.withClient(async (client) => {
    const text = "select nspname from pg_namespace where starts_with(nspname, $1)";
    const { rows } = await client.query<{ nspname: string }>(text, [schema]);
    for (const { nspname } of rows) await client.query(`drop schema ${pgIdentifier(nspname)} cascade`);
  });
}
