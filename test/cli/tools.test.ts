import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CliError } from "../../src/cli/cli-error.ts";
import { openTools, type WorkerTools } from "../../src/cli/tools.ts";
import { parseToolsConfig } from "../../src/tools/config.ts";
import { resultOf, scopeOf } from "../tools/calling.ts";

const log = pino({ level: "silent" });
let folder: string;
let open = new AsyncDisposableStack();
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "signalbox-tools-"));
});
afterEach(async () => {
  await open.disposeAsync();
  open = new AsyncDisposableStack();
  await rm(folder, { recursive: true, force: true });
});

async function opened(file: unknown, env: NodeJS.ProcessEnv = {}): Promise<WorkerTools> {
  const toolsFile = join(folder, "tools.json");
  await writeFile(toolsFile, typeof file === "string" ? file : JSON.stringify(file));
  return open.use(await openTools({ toolsFile, dataDir: folder }, env, log));
}

async function failureOf(promise: Promise<unknown>): Promise<CliError> {
  const outcome: unknown = await promise.catch((error: unknown) => error);
  if (outcome instanceof CliError) return outcome;
  throw new Error("there was no CliError", { cause: outcome });
}

test("without a file every pack is there, files below the data folder", async () => {
  const { tools } = open.use(await openTools({ toolsFile: undefined, dataDir: folder }, {}, log));
  expect(tools.list()).toHaveLength(9);
  const write = tools.get("filesystem.write");
  if (write === undefined) throw new Error("the tool is missing");
  const scope = scopeOf();
  await resultOf(write, { path: "a", content: "x" }, scope);
  expect(await readFile(join(folder, "files", scope.runId, "a"), "utf8")).toBe("x");
});

test("a file adds MCP servers and switches packs off", async () => {
  const args = [fileURLToPath(import.meta.resolve("../tools/mcp/stdio-server.ts"))];
  const servers = { own: { command: process.execPath, args, only: ["add", "env"], envFrom: { KEY: "MY_KEY" } } };
  const { tools } = await opened({ packs: { "http.fetch": false }, mcpServers: servers }, { MY_KEY: "k", SECRET: "s" });
  expect(tools.get("http.fetch")).toBeUndefined();
  const add = tools.get("own.add");
  const env = tools.get("own.env");
  if (add === undefined || env === undefined) throw new Error("the tools are missing");
  expect(await resultOf(add, { a: 1, b: 2 })).toEqual({ sum: 3 });
  const given = JSON.parse(String(await resultOf(env, {}))) as object;
  expect(given).toMatchObject({ KEY: "k" });
  expect(given).not.toHaveProperty("SECRET");
});

test("a file that can not be used is said to be so, with every problem", async () => {
  const bad = await failureOf(opened({ packs: { time: 1 }, mcpServers: { a: {} } }));
  expect(bad.exitCode).toBe(2);
  expect(bad.message).toMatch(/can not be used:\n {2}packs\.time: .*\n {2}mcpServers\.a\.command: /);
  expect((await failureOf(opened("{"))).message).toContain("it is not JSON");
  const servers = { a: { command: "x", envFrom: { KEY: "MY_KEY" } } };
  expect((await failureOf(opened({ mcpServers: servers }))).message).toContain("MY_KEY is not set");
});

test("a file that is named and not there is an error", async () => {
  const toolsFile = join(folder, "none.json");
  const error = await failureOf(openTools({ toolsFile, dataDir: folder }, {}, log));
  expect(error.message).toMatch(/none\.json can not be read: ENOENT/);
});

test("an MCP server that is away stops the start, unless it is not required", async () => {
  const away = { command: "/nonexistent/server" };
  const error = await failureOf(opened({ mcpServers: { away } }));
  expect(error).toMatchObject({ exitCode: 1 });
  expect(error.message).toContain("the MCP server away is not available");
  const { tools } = await opened({ mcpServers: { away: { ...away, required: false } } });
  expect(tools.list()).toHaveLength(9);
});

test("the example of the manual can be used", async () => {
  const manual = await readFile(join(import.meta.dirname, "../../docs/operations.md"), "utf8");
  const example = /```json\n(\{\n {2}"packs"[^`]*)```/.exec(manual)?.[1] ?? "";
  expect(parseToolsConfig(example)).toHaveProperty("config.mcpServers.wiki.url", "https://wiki.example/mcp");
});
