import type { PoolClient } from "pg";
import type { Logger } from "pino";
import { sleep } from "../kernel/wait.ts";
import type { Postgres } from "./postgres.ts";

/**
 * The roles that only one process may play at a time: the advisory lock of each, and how often a standby asks for it. A read
 * that waits for its own write, or a run that waits for its job, shows how long nobody led, and incidents look back only so far;
 * the others find what they missed.
 */
const roles = {
  projector: { lock: 0x5b_01, standbyMs: 500 },
  reactors: { lock: 0x5b_02, standbyMs: 500 },
  schedules: { lock: 0x5b_04, standbyMs: 2_000 },
  rooms: { lock: 0x5b_05, standbyMs: 2_000 },
  incidents: { lock: 0x5b_08, standbyMs: 500 },
  approvals: { lock: 0x5b_10, standbyMs: 2_000 },
  artifacts: { lock: 0x5b_20, standbyMs: 2_000 },
} as const;

/** The pause after the lead was lost. */
const retryMs = 500;

/** One role, played by one process at a time. */
export interface LeaderOptions {
  readonly postgres: Postgres;
  readonly role: keyof typeof roles;
  /** The schema that the role is about: one leader each. */
  readonly schema: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Plays the role until its signal aborts. Whoever writes does it on `client`: when the lock is lost, so is the connection. */
  readonly play: (client: PoolClient, signal: AbortSignal) => Promise<void>;
}

/** Stands by for the role and plays it whenever it is free, until the signal aborts. Trouble is logged, then it stands by again. */
export async function lead(options: LeaderOptions): Promise<void> {
  const { postgres, role, log, signal } = options;
  while (!signal.aborted) {
    try {
      await postgres.withClient((client) => standBy(client, options));
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, role }, "lost the lead, standing by");
    }
    await sleep(retryMs, signal);
  }
}

async function standBy(client: PoolClient, { role, schema, log, signal, play }: LeaderOptions): Promise<void> {
  const { lock, standbyMs } = roles[role];
  while (!signal.aborted) {
    const { rows } = await client.query<{ free: boolean }>({
      text: "select pg_try_advisory_lock($1, hashtext($2)) as free",
      values: [lock, schema],
    });
    if (rows[0]?.free) break;
    await sleep(standbyMs, signal);
  }
  if (signal.aborted) return;
  log.info({ role }, "took the lead");
  const lost = new AbortController();
  const lose = () => lost.abort();
  client.on("end", lose);
  try {
    await play(client, AbortSignal.any([signal, lost.signal]));
  } finally {
    client.off("end", lose);
    if (!lost.signal.aborted) await client.query("select pg_advisory_unlock_all()");
  }
}
