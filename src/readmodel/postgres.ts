import {
  type ClientBase,
  DatabaseError,
  Pool,
  type PoolClient,
  type QueryResult,
  type QueryResultRow,
  types,
} from "pg";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";

/** The schema that holds everything of ours; rebuilds make another beside it and swap. */
export const liveSchema = "signalbox";

/** How long a caller's query may take, in milliseconds; upkeep on a connection of its own may take longer. */
const readTimeoutMs = 10_000;

/** A named statement, prepared once per connection. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  readonly values?: unknown[];
}

/** What queries need. The row type is the caller's word for what its statement selects. */
export interface Db {
  query<R extends QueryResultRow>(statement: Statement): Promise<QueryResult<R>>;
}

/** An open pool. Disposing it waits for queries in flight. */
export interface Postgres extends AsyncDisposable {
  readonly db: Db;
  /** Runs `fn` on one connection of its own; the connection is thrown away when `fn` throws. */
  withClient<T>(fn: (client: PoolClient) => Promise<T>): Promise<T>;
}

/** Where Postgres is. */
export interface PostgresOptions {
  readonly url: string;
  readonly log: Logger;
  /** Tests use a schema of their own. Default `signalbox`. */
  readonly schema?: string;
  /** Connections at most, default 16: a process that leads in every role keeps six of them, the others are for queries. */
  readonly maxConnections?: number;
}

/** A pool whose int8 columns come as bigint. Connects lazily; a failed query throws STORE_UNAVAILABLE when the database is away. */
export function openPostgres({ url, log, schema = liveSchema, maxConnections = 16 }: PostgresOptions): Postgres {
  const pool = new Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 3_000,
    query_timeout: 30_000,
    keepAlive: true,
    // Filters that are not set fold away only when the plan is made for the values at hand.
    options: `-c search_path=${schema} -c plan_cache_mode=force_custom_plan`,
    types: { getTypeParser: typeParser },
  });
  // Idle connections break when the server goes away; the next query opens a new one.
  pool.on("error", ({ message }) => {
    if (closing === undefined) log.warn({ reason: message }, "postgres connection lost");
  });
  let closing: Promise<void> | undefined;
  return {
    db: {
      query: (statement) => {
        const timed: Statement & { query_timeout: number } = { ...statement, query_timeout: readTimeoutMs };
        return guarded(() => pool.query(timed));
      },
    },
    withClient: (fn) => guarded(() => withClient(pool, fn)),
    [Symbol.asyncDispose]: () => (closing ??= pool.end()),
  };
}

async function withClient<T>(pool: Pool, fn: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failed: Error | undefined;
  client.on("error", remember);
  function remember(error: Error) {
    failed = error;
  }
  try {
    return await fn(client);
  } catch (error) {
    failed = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.off("error", remember);
    client.release(failed);
  }
}

/** Runs `fn` in a transaction on the client: committed when it returns, rolled back when it throws. */
export async function transaction<T>(client: ClientBase, fn: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    const result = await fn();
    await client.query("commit");
    return result;
  } catch (error) {
    // A broken connection can not roll back; the server does it.
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

const int8 = types.builtins.INT8;

/** node-postgres types its parsers as `any`; what comes out of a query has the type that the query names. */
const typeParser: typeof types.getTypeParser = (oid, format) => {
  if (oid === int8 && format !== "binary") return BigInt;
  return types.getTypeParser(oid, format) as (value: never) => unknown;
};

/** SQLSTATE classes that say that the database is away: connection, resources, operator intervention, system error. */
const awayClasses = new Set(["08", "53", "57", "58"]);

/** Connection trouble becomes STORE_UNAVAILABLE; every other error stays what it is. */
async function guarded<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    if (isAway(error)) {
      throw new SignalboxError(
        "STORE_UNAVAILABLE",
        "the read model's database does not answer, repeat with backoff",
        {},
        error,
      );
    }
    throw error;
  }
}

function isAway(error: unknown): boolean {
  if (error instanceof SignalboxError || !(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  if (error instanceof DatabaseError) return awayClasses.has(code.slice(0, 2));
  // node-postgres reports lost connections and its own time-outs as plain errors.
  return /^E[A-Z]+$/.test(code) || /connection|timeout|timed out/i.test(error.message);
}
