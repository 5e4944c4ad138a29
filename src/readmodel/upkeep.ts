import type { PoolClient } from "pg";
import { SignalboxError } from "../kernel/errors.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Postgres } from "./postgres.ts";
import type { AnyProjection } from "./projection.ts";

/** The advisory lock of whoever works on the read models as a whole. */
const upkeepLock = 0x5b_03;

/** How far a long work on the read models has come. */
export interface Progress {
  /** The last position that is done. */
  readonly position: bigint;
  /** The position to reach. */
  readonly head: bigint;
}

/** What to rebuild or verify. */
export interface UpkeepOptions {
  readonly postgres: Postgres;
  readonly log: EventLog;
  readonly projections: readonly AnyProjection[];
  /** The live schema, default `signalbox`. */
  readonly schema?: string;
  /** Called after each batch. */
  readonly onProgress?: (progress: Progress) => void;
}

/** Runs `fn` on a connection that keeps every other rebuild and verification of the schema away. CONTENTION when one is under way. */
export async function withUpkeepLock<T>(
  postgres: Postgres,
  schema: string,
  fn: (client: PoolClient) => Promise<T>,
): Promise<T> {
  return postgres.withClient(async (client) => {
    const { rows } = await client.query<{ free: boolean }>({
      text: "select pg_try_advisory_lock($1, hashtext($2)) as free",
      values: [upkeepLock, schema],
    });
    if (!rows[0]?.free) {
      throw new SignalboxError(
        "CONTENTION",
        `the read models in schema ${schema} are being rebuilt or verified by another process; wait for its end`,
      );
    }
    const result = await fn(client);
    // After an error the connection is closed, and the lock with it.
    await client.query("select pg_advisory_unlock($1, hashtext($2))", [upkeepLock, schema]);
    return result;
  });
}

/** The longest schema name that leaves room for the names beside it. */
const maxSchemaLength = 56;

/** The name of a schema that stands beside another one for a while. INVALID_REQUEST when there is no room for it. */
export function besideSchema(schema: string, purpose: "next" | "old" | "verify"): string {
  if (schema.length > maxSchemaLength) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      `the schema name ${schema} is longer than ${maxSchemaLength} characters, so nothing can be built beside it`,
    );
  }
  return `${schema}_${purpose}`;
}

/** A statement that may take an hour: it works on whole tables. */
export function unhurried(text: string, values: unknown[] = []) {
  return { text, values, query_timeout: 3_600_000 };
}
