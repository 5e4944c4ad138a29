import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { TestProject } from "vitest/node";
import { openStack } from "../../src/stack/stack.ts";
import { openContainers } from "./containers.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** A NATS with JetStream, shared by every test file of the run. */
    natsUrl: string;
    /** A Postgres, shared by every test file of the run. */
    databaseUrl: string;
  }
}

/**
 * Starts one NATS and one Postgres for the whole run: those of NATS_URL and DATABASE_URL where they are set, else
 * containers with SIGNALBOX_TEST_BACKEND=containers, else embedded ones. Returns what stops them.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using opening = new AsyncDisposableStack();
  const { natsUrl, databaseUrl } = opening.use(await openBackend());
  project.provide("natsUrl", natsUrl);
  project.provide("databaseUrl", databaseUrl);
  const open = opening.move();
  return () => open.disposeAsync();
}

interface Backend extends AsyncDisposable {
  readonly natsUrl: string;
  readonly databaseUrl: string;
}

function openBackend(): Promise<Backend> {
  const given = { natsUrl: process.env["NATS_URL"], databaseUrl: process.env["DATABASE_URL"] };
  const choice = process.env["SIGNALBOX_TEST_BACKEND"] ?? "embedded";
  switch (choice) {
    case "containers":
      return openContainers(given);
    case "embedded":
      return openEmbedded(given);
    default:
      throw new Error(`SIGNALBOX_TEST_BACKEND is ${JSON.stringify(choice)}; it can be embedded or containers`);
  }
}

async function openEmbedded(given: { natsUrl: string | undefined; databaseUrl: string | undefined }): Promise<Backend> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-test-")));
  const stack = opening.use(
    await openStack({
      ...given,
      dataDir: join(folder.path, "data"),
      // Tests prove what survives a process, and those that prove more start their own.
      durability: "relaxed",
      log: pino({ level: "warn" }),
      onFatal: (error) => process.stderr.write(`the servers of the tests are gone: ${error.message}\n`),
    }),
  );
  const open = opening.move();
  return {
    natsUrl: stack.natsUrl,
    databaseUrl: stack.databaseUrl,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
