import type pg from "pg";
import { allProjections } from "../../src/cli/serve.ts";
import { EventRecord, type StoredMessage } from "../../src/eventlog/record.ts";
import { migrate, pgIdentifier } from "../../src/readmodel/migrate.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { createProjector } from "../../src/readmodel/projector.ts";
import { answerQuestions } from "../support/answer.ts";
import { createLogger } from "../support/logger.ts";
import { recordHistory } from "../support/run-history.ts";

const resources = new AsyncDisposableStack();
/** As many records as the feed hands out at once. */
const batchSize = 256;
const schema = "bench";

/** A named statement with its values. */
interface Statement {
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

let history: StoredMessage[] = [];
/** What the projector writes for the history, one list per batch; recorded once, for the limit to write the same. */
let writes: Statement[][] = [];

/** Runs `work` on a connection to a schema that is made for it, empty, and dropped afterwards. Returns its milliseconds. */
async function inFreshSchema(databaseUrl: string, work: (client: pg.PoolClient) => Promise<void>): Promise<number> {
  await using postgres = openPostgres({ url: databaseUrl, schema, log: createLogger() });
  await migrate(postgres, schema);
  return await postgres.withClient(async (client) => {
    const startedAt = performance.now();
    await work(client);
    const ms = performance.now() - startedAt;
    await client.query(`drop schema ${pgIdentifier(schema)} cascade`);
    return ms;
  });
}

/** Has the projector fold the history. */
async function project(client: pg.ClientBase): Promise<void> {
  const projector = createProjector(client, allProjections);
  for (let from = 0; from < history.length; from += batchSize) {
    // New records each time: decoding is a part of the work.
    await projector.apply(history.slice(from, from + batchSize).map((stored) => new EventRecord(stored)));
  }
}

/** The client, with each batch's writes copied to `writes`. */
function recording(client: pg.ClientBase): pg.ClientBase {
  const query = (statement: string | Statement) => {
    if (statement === "begin") writes.push([]);
    else if (typeof statement !== "string" && /_(insert|upsert)$/.test(statement.name)) writes.at(-1)?.push(statement);
    return client.query(statement);
  };
  return new Proxy(client, { get: (target, key): unknown => (key === "query" ? query : Reflect.get(target, key)) });
}

const functions = {
  /** Makes the history, and projects it once. */
  async prepare({ databaseUrl, events }: { databaseUrl: string; events: number }): Promise<void> {
    history = await recordHistory(events);
    writes = [];
    await inFreshSchema(databaseUrl, (client) => project(recording(client)));
  },
  /** Projects the history into empty tables. Returns events a second. */
  async project(databaseUrl: string): Promise<number> {
    return (history.length / (await inFreshSchema(databaseUrl, project))) * 1000;
  },
  /** Writes the same rows to the same tables, in the same batches, with nothing left to work out. Returns events a second. */
  async insert(databaseUrl: string): Promise<number> {
    const ms = await inFreshSchema(databaseUrl, async (client) => {
      for (const batch of writes) {
        await client.query("begin");
        for (const statement of batch) await client.query(statement);
        await client.query("commit");
      }
    });
    return (history.length / ms) * 1000;
  },
};

/** A projector with a log in memory, in a process of its own. */
export type ProjectorProcess = typeof functions;

answerQuestions(functions, resources);
