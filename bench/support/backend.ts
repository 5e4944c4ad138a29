import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate } from "../../src/readmodel/migrate.ts";
import { openPostgres } from "../../src/readmodel/postgres.ts";
import { openStack } from "../../src/stack/stack.ts";
import { createLogger } from "./logger.ts";

/** A NATS that syncs every write to disk and a migrated Postgres, in a folder that goes with them. */
export interface Backend extends AsyncDisposable {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** On the disk that NATS writes to. */
  readonly folder: string;
}

/** Starts the embedded stack with the durability `fsync` in a temporary folder. */
export async function openBackend(signal: AbortSignal): Promise<Backend> {
  await using opening = new AsyncDisposableStack();
  const log = createLogger();
  const folder = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-bench-")));
  const stack = opening.use(
    await openStack({
      dataDir: join(folder.path, "data"),
      durability: "fsync",
      log,
      onFatal: (err) => log.error({ err }, "the servers of the benchmark are gone"),
      signal,
    }),
  );
  await using postgres = openPostgres({ url: stack.databaseUrl, log });
  await migrate(postgres);
  const open = opening.move();
  return {
    natsUrl: stack.natsUrl,
    databaseUrl: stack.databaseUrl,
    folder: folder.path,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
