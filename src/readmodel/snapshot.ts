import type { Db, Postgres } from "./postgres.ts";

/** Several reads of the tables as they were at one moment. */
export interface Snapshot {
  readonly db: Db;
  /** Everything up to here is in them, and nothing behind it. */
  readonly position: bigint;
}

/** Reads in one read-only transaction: whatever the projector does meanwhile, every query sees the same. */
export function readSnapshot<T>(postgres: Postgres, read: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  // When something throws, the connection is closed, and the transaction with it.
  return postgres.withClient(async (client) => {
    await client.query("begin isolation level repeatable read read only");
    const { rows } = await client.query<{ position: bigint }>({
      name: "checkpoint_read",
      text: "select position from checkpoints where name = 'projector'",
    });
    const answer = await read({ db: client, position: rows[0]?.position ?? 0n });
    await client.query("commit");
    return answer;
  });
}
