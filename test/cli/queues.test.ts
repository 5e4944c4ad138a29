import { afterAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const { run, text, json, list } = createCommands(installation.url, newWorkspaceId());

interface JsonQueue {
  readonly name: string;
  readonly etag: string;
  readonly queuedRuns?: string;
}

test("put sets what is given and leaves the rest as it is", async () => {
  await json("queues", "put", "mail", "--max-running", "2", "--rate", "100/1m");
  const put = await json("queues", "put", "mail", "--held", "--max-running-per-key", "1");
  const settings = { maxRunning: 2, maxRunningPerKey: 1, rateLimit: { runs: 100, period: "60s" } };
  expect(put).toMatchObject({ ...settings, held: true });
  const { held, ...rest } = await json<Record<string, unknown>>("queues", "put", "mail", "--no-held");
  expect(held).toBeUndefined();
  expect(rest).toMatchObject(settings);
});

test("put takes limits away", async () => {
  await json("queues", "put", "free", "--max-running", "2", "--rate", "100/1m");
  const queue = await json<object>("queues", "put", "free", "--max-running", "0", "--rate", "none");
  expect(queue).not.toHaveProperty("maxRunning");
  expect(queue).not.toHaveProperty("rateLimit");
});

test("put without a setting is a wrong call", async () => {
  const { code, stderr } = await run("queues", "put", "mail");
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toContain("nothing to set was given");
});

test("ls and get show settings and numbers", async () => {
  await json("queues", "put", "slow", "--max-running", "3", "--rate", "5/30s", "--held");
  await json("run", "echo", "--queue", "slow");
  const queued = async () => (await list<JsonQueue>("queues", "ls")).find(({ name }) => name === "slow")?.queuedRuns;
  await until(async () => (await queued()) === "1", { what: "the queue to count its run" });
  expect(await text("queues", "ls")).toMatch(/^slow +1 +0 +3 +5 in 30\.0 s +held$/m);
  expect(await text("queues", "get", "slow")).toMatch(/held +yes[^]*at most +3\nrate +5 in 30\.0 s\nqueued +1\n/);
});

test("a queue that is not there is named with the way out", async () => {
  const { code, stderr } = await run("queues", "get", "nobody");
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/\(QUEUE_NOT_FOUND\)\nhint: signalbox queues ls/);
});
