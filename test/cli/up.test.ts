import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { findRunningStack } from "../../src/cli/running-stack.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { type Running, signalbox, startSignalbox } from "./signalbox.ts";

async function ready(up: Running): Promise<string> {
  const text = await up.says("Ctrl-C stops everything");
  const [, url = ""] = /^signalbox ready (http:\/\/127\.0\.0\.1:\d+)\n/.exec(text) ?? [];
  return url;
}

test("up brings everything, and a start after Ctrl-C finds it all again", { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const env = { SIGNALBOX_DATA_DIR: dataDir, SIGNALBOX_PORT: "0", SIGNALBOX_DURABILITY: "relaxed" };
  await using first = startSignalbox(["up"], env);
  const url = await ready(first);
  expect(first.stdout()).toContain(`curl -H 'content-type: application/json'`);
  expect(first.stdout()).toContain(`SIGNALBOX_URL=${url} npm run signalbox -- events tail`);
  expect(first.stdout()).toContain(dataDir);
  expect(first.stdout()).toContain("not a power cut");

  const { stdout } = await signalbox(["run", "steps", "--input", '{"count":2}', "--wait", "--json"], {
    SIGNALBOX_URL: url,
  });
  const { runId } = JSON.parse(stdout) as { runId: string };

  const second = await signalbox(["up"], env);
  expect(second.code).toBe(exitCodes.failed);
  expect(second.stderr).toContain(`in use by process ${first.pid}`);
  expect(second.stderr).toContain("SIGNALBOX_DATA_DIR");

  // Upkeep finds the stack that is up.
  expect(await signalbox(["migrate"], env)).toMatchObject({
    code: exitCodes.ok,
    stdout: expect.stringContaining("up to date") as unknown,
  });
  expect(await signalbox(["verify"], env)).toMatchObject({
    code: exitCodes.ok,
    stdout: expect.stringContaining("every hash is right") as unknown,
  });
  expect(await signalbox(["rebuild"], env)).toMatchObject({ code: exitCodes.ok });
  expect(await signalbox(["doctor"], { ...env, SIGNALBOX_URL: url })).toMatchObject({ code: exitCodes.ok });
  expect(JSON.parse((await signalbox(["verify", "--json"], env)).stdout)).toMatchObject({ ok: true, differences: [] });

  // Other processes can serve beside it, on the same stores.
  const stores = (await findRunningStack(dataDir)) ?? { natsUrl: "", databaseUrl: "" };
  const secret = randomBytes(32).toString("base64");
  await using beside = startSignalbox(["serve", "--roles", "server"], {
    NATS_URL: stores.natsUrl,
    DATABASE_URL: stores.databaseUrl,
    SIGNALBOX_PORT: "0",
    SIGNALBOX_SECRET: secret,
    SIGNALBOX_ROOT_KEY_FILE: join(dataDir, "root.key"),
  });
  const [, besideUrl = ""] = /^signalbox ready (\S+)\n$/.exec(await beside.says("\n")) ?? [];
  expect((await signalbox(["runs", "get", runId], { SIGNALBOX_URL: besideUrl })).code).toBe(exitCodes.ok);
  expect((await beside.stop("SIGTERM")).code).toBe(exitCodes.ok);

  // Like npm and the terminal, which both pass on a Ctrl-C: twice.
  process.kill(first.pid, "SIGINT");
  const stopped = await first.stop("SIGINT");
  expect(stopped).toMatchObject({ code: exitCodes.ok });
  expect(stopped.stdout).toBe(first.stdout());
  expect(await readdir(dataDir)).not.toContain("up.json");

  // Nothing is up: upkeep starts the stack for itself.
  expect((await signalbox(["verify"], env)).stdout).toMatch(/^verified [1-9]/);

  await using again = startSignalbox(["up", "--json"], env);
  const said = JSON.parse(await again.says("\n")) as { url: string };
  const found = await signalbox(["runs", "get", runId], { SIGNALBOX_URL: said.url });
  expect(found.stdout).toMatch(/status +SUCCEEDED/);
  expect((await again.stop("SIGTERM")).code).toBe(exitCodes.ok);
});

test("upkeep does not make up a stack where there is none", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  for (const command of ["verify", "rebuild", "migrate"]) {
    const { code, stderr } = await signalbox([command], { SIGNALBOX_DATA_DIR: dataDir });
    expect(code).toBe(exitCodes.failed);
    expect(stderr).toContain(`there is no Signalbox at ${dataDir}`);
  }
  expect(await readdir(folder.path)).toEqual([]);
});

test("up names the port that is taken and leaves nothing running", { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder();
  const env = { SIGNALBOX_PORT: "0", SIGNALBOX_DURABILITY: "relaxed" };
  await using first = startSignalbox(["up"], { ...env, SIGNALBOX_DATA_DIR: join(folder.path, "one") });
  const { port } = new URL(await ready(first));
  const dataDir = join(folder.path, "two");
  const second = await signalbox(["up"], { ...env, SIGNALBOX_PORT: port, SIGNALBOX_DATA_DIR: dataDir });
  expect(second.code).toBe(exitCodes.failed);
  expect(second.stderr).toContain(`port ${port} on 127.0.0.1 is taken`);
  expect(second.stderr).toContain("A Signalbox listens there already");
  expect(second.stderr).toContain("SIGNALBOX_PORT");
  expect(await readdir(dataDir)).not.toContain("lock.pid");
});
