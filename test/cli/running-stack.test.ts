import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { announceStack, findRunningStack } from "../../src/cli/running-stack.ts";
import { temporaryFolder } from "../stack/folder.ts";

const stack = { pid: process.pid, natsUrl: "nats://u:p@127.0.0.1:1", databaseUrl: "postgres://u:p@127.0.0.1:2/db" };
// Linux has no process with this id, and other systems have no id as large.
const deadPid = 2 ** 30;

test("is found while it is announced, and not after", async () => {
  await using folder = await temporaryFolder();
  expect(await findRunningStack(folder.path)).toBeUndefined();
  const word = await announceStack(folder.path, stack);
  expect(await findRunningStack(folder.path)).toEqual(stack);
  await word[Symbol.asyncDispose]();
  expect(await findRunningStack(folder.path)).toBeUndefined();
});

test("keeps its addresses, which hold passwords, from other users", async () => {
  await using folder = await temporaryFolder();
  await using _word = await announceStack(folder.path, stack);
  expect((await stat(join(folder.path, "up.json"))).mode & 0o777).toBe(0o600);
});

test("is not believed in when its process is gone or the file says something else", async () => {
  await using folder = await temporaryFolder();
  await using _word = await announceStack(folder.path, { ...stack, pid: deadPid });
  expect(await findRunningStack(folder.path)).toBeUndefined();
  await writeFile(join(folder.path, "up.json"), '{"pid":1}');
  expect(await findRunningStack(folder.path)).toBeUndefined();
});
