import { expect, inject, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { createDatabase } from "./database.ts";
import { signalbox } from "./signalbox.ts";

test("serve refuses read models that are not up to date, and says what to do", async () => {
  await using database = await createDatabase();
  const env = { NATS_URL: inject("natsUrl"), DATABASE_URL: database.url, SIGNALBOX_PORT: "0" };
  const { code, stdout, stderr } = await signalbox(["serve", "--roles", "projector"], env);
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toContain("they lack 0001_foundation.sql");
  expect(stderr).toContain("signalbox migrate");
  expect(stdout).toBe("");
});

test("migrate needs the database alone, says what it applied, and does nothing the second time", async () => {
  await using database = await createDatabase();
  const env = { DATABASE_URL: database.url };
  expect(JSON.parse((await signalbox(["migrate", "--json"], env)).stdout)).toMatchObject({
    applied: expect.arrayContaining(["0001_foundation.sql"]) as unknown,
  });
  expect((await signalbox(["migrate"], env)).stdout).toBe("the read models are up to date\n");
});

test.each([
  ["migrate", { DATABASE_URL: "postgres://u:hunter2@127.0.0.1:9/db" }],
  ["verify", { NATS_URL: "nats://u:hunter2@127.0.0.1:9", DATABASE_URL: "postgres://u:hunter2@127.0.0.1:9/db" }],
  ["rebuild", { NATS_URL: "nats://u:hunter2@127.0.0.1:9", DATABASE_URL: "postgres://u:hunter2@127.0.0.1:9/db" }],
])("%s exits with 3 when a store does not answer, without a password in sight", async (command, env) => {
  const { code, stderr } = await signalbox([command], env);
  expect(code).toBe(exitCodes.unreachable);
  expect(stderr).toContain("signalbox doctor");
  expect(stderr).not.toContain("hunter2");
});
