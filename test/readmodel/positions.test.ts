import { afterAll, beforeAll, expect, test } from "vitest";
import { createPositions } from "../../src/readmodel/positions.ts";
import type { Postgres } from "../../src/readmodel/postgres.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";
import { rowsOf } from "./tables.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

let subjects = 0;
const newSubject = () => `${backend.prefix}.positions${++subjects}`;
const open = (subject = newSubject(), postgres: Postgres = backend.postgres) =>
  createPositions({ nats: backend.nats, postgres, subject });
const never = new AbortController().signal;

test("a reader is woken by an announcement of another process", async () => {
  const subject = newSubject();
  await using projector = open(subject);
  await using reader = open(subject);
  let reached = false;
  const waiting = reader.reach(1_000_000n, never).then(() => (reached = true));
  projector.announce(999_999n);
  await until(() => reader.known === 999_999n, { what: "the first announcement" });
  expect(reached).toBe(false);
  projector.announce(1_000_000n);
  await waiting;
});

test("a reader looks for itself when the announcement was lost", async () => {
  await using reader = open();
  const waiting = reader.reach(7n, never);
  await rowsOf(backend.postgres, "update checkpoints set position = 7");
  await waiting;
  expect(reader.known).toBe(7n);
});

test("a position that was reached before costs nothing", async () => {
  const broken: Postgres = {
    ...backend.postgres,
    db: { query: () => Promise.reject(new Error("asked")) },
  };
  await using reader = open(newSubject(), broken);
  reader.announce(5n);
  await reader.reach(5n, never);
  await reader.reach(0n, never);
  await expect(reader.reach(6n, never)).rejects.toThrow("asked");
});

test("an older announcement does not take anything back", async () => {
  await using reader = open();
  reader.announce(5n);
  reader.announce(3n);
  expect(reader.known).toBe(5n);
});

test("a reader whose time is over is told how far the read model is", async () => {
  await using reader = open();
  reader.announce(9n);
  await expect(reader.reach(10n, AbortSignal.timeout(50))).rejects.toMatchObject({
    reason: "READ_MODEL_BEHIND",
    metadata: { position: "9" },
  });
  await expect(reader.reach(10n, AbortSignal.abort())).rejects.toMatchObject({ reason: "READ_MODEL_BEHIND" });
});

test("a reader whose time is over does not wait for a database that hangs", async () => {
  const hanging: Postgres = { ...backend.postgres, db: { query: () => new Promise(() => {}) } };
  await using reader = open(newSubject(), hanging);
  await expect(reader.reach(10n, AbortSignal.timeout(50))).rejects.toMatchObject({ reason: "READ_MODEL_BEHIND" });
});
