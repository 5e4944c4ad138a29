import { afterAll, beforeAll, expect, test } from "vitest";
import { nonceTtlMs, type Nonces, openNonces } from "../../src/access/nonces.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";

let backend: TestBackend;
let servers: readonly [Nonces, Nonces];

beforeAll(async () => {
  backend = await openTestBackend();
  const { nats, prefix } = backend;
  const options = { nats, bucket: `NONCES_${prefix}`, replicas: 1 };
  servers = [await openNonces(options), await openNonces(options)];
});

afterAll(() => backend[Symbol.asyncDispose]());

test("of any number of servers that spend a nonce at the same time, one does", async () => {
  for (let round = 0; round < 20; round++) {
    const nonce = String(round).padStart(32, "0");
    const spent = await Promise.all(
      Array.from({ length: 10 }, (_, index) => servers[index % 2 === 0 ? 0 : 1].spend(nonce)),
    );
    expect(spent.filter(Boolean)).toHaveLength(1);
    expect(await servers[0].spend(nonce)).toBe(false);
  }
});

test("nonces are on disk, and forgotten after their time", async () => {
  const { config } = await backend.nats.jsm.streams.info(`KV_NONCES_${backend.prefix}`);
  expect([config.storage, config.max_age]).toEqual(["file", nonceTtlMs * 1e6]);
});
