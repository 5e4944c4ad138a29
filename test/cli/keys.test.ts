import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { openKeys } from "../../src/cli/keys.ts";
import { readSettings } from "../../src/cli/settings.ts";
import { openStores, type Stores } from "../../src/cli/stores.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import type { Keys } from "../../src/keys/keys.ts";
import { names } from "../../src/keys/records.ts";
import { openStack, type Stack } from "../../src/stack/stack.ts";
import { openedKey } from "../keys/world.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { type Outcome, signalbox } from "./signalbox.ts";

/** A NATS of this file's own: a root key is an installation's, and what is erased is looked for on its disk. */
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let stack: Stack;
let stores: Stores;
let env: Record<string, string>;
const log = pino({ level: "silent" });

beforeAll(async () => {
  folder = await temporaryFolder();
  const databaseUrl = inject("databaseUrl");
  const onFatal = (error: Error) => process.emitWarning(error);
  stack = await openStack({ dataDir: join(folder.path, "stack"), durability: "relaxed", databaseUrl, log, onFatal });
  const { natsUrl } = stack;
  env = { NATS_URL: natsUrl, DATABASE_URL: databaseUrl, SIGNALBOX_DATA_DIR: join(folder.path, "data") };
  stores = await openStores({ natsUrl, databaseUrl, replicas: 1, log });
});

afterAll(async () => {
  await stores[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function keysOf(changes: Record<string, string> = {}): Promise<Keys> {
  const settings = readSettings({ ...env, ...changes });
  return openKeys({ stores, settings, replicas: 1, clock: systemClock, ids: randomIds, env: {} });
}

async function run(...args: string[]): Promise<Outcome> {
  return signalbox(["keys", ...args], env);
}

async function eventTypesOf(workspaceId: string): Promise<string[]> {
  const { head } = await stores.log.bounds();
  const key = { workspaceId, type: "workspace_key", id: workspaceId };
  const records = await Array.fromAsync(stores.log.read(stores.log.subjects.of(key, ""), 0n, head));
  return records.map(({ event }) => event.type);
}

/** What NATS has on its disk, all files together. */
async function disk(): Promise<Buffer> {
  const root = join(folder.path, "stack", "nats");
  const files = await readdir(root, { recursive: true, withFileTypes: true });
  const contents = files
    .filter((file) => file.isFile() && file.parentPath.includes("KEYS"))
    .map((file) => readFile(join(file.parentPath, file.name)));
  return Buffer.concat(await Promise.all(contents));
}

test("lists the keys of workspaces, without a key in sight", async () => {
  const { ring } = await keysOf();
  const { keyId } = await ring.issue("ws_list", "art_1");
  await ring.issue("ws_list", "art_2");
  const { code, stdout } = await run("list", "--json");
  expect(code).toBe(exitCodes.ok);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { workspaceId: string });
  const row = rows.find(({ workspaceId }) => workspaceId === "ws_list");
  expect(row).toMatchObject({ artifactKeys: 2, keys: [{ keyId }], retired: [], destroyed: [] });
  expect(stdout).not.toContain("wrapped");
  expect((await run("list")).stdout).toMatch(/^WORKSPACE +KEY +SINCE +ROOT KEY +ARTIFACTS +STATE\n/);
  expect((await run("list")).stdout).toMatch(/\nws_list +key_\w+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ /);
});

test("rotates the key of one workspace, or of all, while artifacts keep theirs and the log says so", async () => {
  const { ring } = await keysOf();
  await ring.issue("ws_rotate", "art_1");
  const key = await openedKey(await keysOf(), "ws_rotate", "art_1");
  const { code, stdout } = await run("rotate", "--workspace", "ws_rotate", "--json");
  expect(code).toBe(exitCodes.ok);
  expect(JSON.parse(stdout)).toMatchObject({ workspaceId: "ws_rotate", rewrapped: 1, resumed: false });
  expect((await run("rotate", "--all")).stdout).toContain("ws_rotate: key_");
  expect(await openedKey(await keysOf(), "ws_rotate", "art_1")).toBe(key);
  const rotated = "workspace_key.rotated";
  expect(await eventTypesOf("ws_rotate")).toEqual([rotated, rotated, rotated]);
});

test("refuses to rotate what is not there, and two levels at once", async () => {
  expect(await run("rotate", "--workspace", "ws_nobody")).toMatchObject({ code: exitCodes.failed });
  expect((await run("rotate", "--root", "--all")).code).toBe(exitCodes.usage);
});

test("destroys the keys of a workspace only when told so twice, for a reason, and puts it on record", async () => {
  const { ring } = await keysOf();
  await ring.issue("ws_destroy", "art_1");
  expect((await run("destroy", "ws_destroy")).code).toBe(exitCodes.usage);
  const unsure = await run("destroy", "ws_destroy", "--reason", "it is over", "--json");
  expect(unsure).toMatchObject({ code: exitCodes.usage });
  expect(unsure.stderr).toContain("--yes");
  await openedKey(await keysOf(), "ws_destroy", "art_1");
  const sure = ["destroy", "ws_destroy", "--reason", "it is over", "--yes"];
  expect((await run(...sure)).stdout).toMatch(/^ws_destroy: destroyed key_\w+; backups of the stream KEYS/);
  expect(await ring.open("ws_destroy", "art_1")).toEqual({ state: "destroyed" });
  expect((await run(...sure)).stdout).toContain("had no keys any more");
  expect(await eventTypesOf("ws_destroy")).toEqual(["workspace_key.rotated", "workspace_key.destroyed"]);
});

test("wraps everything by a new root key, and refuses a server that was given another one", async () => {
  const { ring } = await keysOf();
  await ring.issue("ws_root", "art_1");
  const key = await openedKey(await keysOf(), "ws_root", "art_1");
  const old = env["SIGNALBOX_DATA_DIR"] ?? "";
  const moved = { SIGNALBOX_ROOT_KEY: Buffer.alloc(32, 9).toString("base64") };
  await expect(keysOf(moved)).rejects.toThrow("are wrapped by root key");
  env = { ...env, ...moved, SIGNALBOX_ROOT_KEY_OLD: `file:${join(old, "root.key")}` };
  expect(await openedKey(await keysOf(), "ws_root", "art_1")).toBe(key);
  const { code, stdout } = await run("rotate", "--root");
  expect(code).toBe(exitCodes.ok);
  expect(stdout).toMatch(/wrapped \d+ keys? of workspaces by the root key anew/);
  env["SIGNALBOX_ROOT_KEY_OLD"] = "";
  expect(await openedKey(await keysOf(), "ws_root", "art_1")).toBe(key);
});

test("nothing of a key that was destroyed stays on the disk of NATS", async () => {
  const { ring } = await keysOf();
  await ring.issue("ws_disk", "art_1");
  const prefix = `${stores.prefix}.keys.`;
  const read = async (name: string) => {
    const message = await stores.nats.jsm.streams.getMessage("KEYS", { last_by_subj: `${prefix}${name}` });
    return Buffer.from(message?.data ?? []).toString();
  };
  const secrets = [
    /"key":"([^"]+)"/.exec(await read(names.data("ws_disk", "art_1")))?.[1] ?? "",
    /"wrapped":"([^"]+)"/.exec(await read(names.workspace("ws_disk")))?.[1] ?? "",
  ];
  const onDisk = async () => {
    const bytes = await disk();
    return secrets.map((secret) => bytes.includes(secret));
  };
  expect(await onDisk()).toEqual([true, true]);
  await ring.destroy("ws_disk", "art_1");
  await run("destroy", "ws_disk", "--reason", "it is over", "--yes");
  expect(await onDisk()).toEqual([false, false]);
});
