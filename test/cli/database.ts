import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { inject } from "vitest";

/** An empty database of a test's own, on the Postgres of the run; dropped when it is disposed. */
export async function createDatabase(): Promise<AsyncDisposable & { readonly url: string }> {
  const name = `cli_${randomBytes(6).toString("hex")}`;
  const url = new URL(inject("databaseUrl"));
  await execute(url.href, `create database ${name}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  return { url: own.href, [Symbol.asyncDispose]: () => execute(url.href, `drop database ${name} with (force)`) };
}

async function execute(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
