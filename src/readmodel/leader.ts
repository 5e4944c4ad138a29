import type { PoolClient } from "pg";
import type { Logger } from "pino";
import { sleep } from "../kernel/wait.ts";
import type { Postgres } from "./postgres.ts";

/** The advisory lock of each role that only one process may play at a time. */
const locks = {
  projector: 0x5b_01,
  reactors: 0x5b_02,
  schedules: 0x5b_04,
  rooms: 0x5b_05,
  incidents: 0x5b_08,
  approvals: 0x5b_10,
} as const;

/** How often a standby asks for the lock. */
const standbyMs = 500;

/** One role, played by one process at a time. */
export interface LeaderOptions {
  readonly postgres: Postgres;
  readonly role: keyof typeof locks;
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
    await sleep(standbyMs, signal);
  }
}

async function standBy(client: PoolClient, { role, schema, log, signal, play }: LeaderOptions): Promise<void> {
  while (!signal.aborted) {
    const { rows } = await client.query<{ free: boolean }>({
      text: "select pg_try_advisory_lock($1, hashtext($2)) as free",
      values: [locks[role], schema],
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
