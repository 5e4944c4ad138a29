import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { type McpServerOptions, type McpTools, openMcpTools } from "../../../src/tools/mcp.ts";
import { createToolRegistry } from "../../../src/tools/registry.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { until } from "../../support/until.ts";
import { errorOf, recordingLog, resultOf, scopeOf, textWith, toolErrorOf } from "../calling.ts";

const { READ, WRITE, EXTERNAL_WRITE } = ToolEffect;
const log = recordingLog();
let opened = new AsyncDisposableStack();
afterEach(async () => {
  await opened.disposeAsync();
  opened = new AsyncDisposableStack();
});

function script(url: string): { command: string; args: string[] } {
  return { command: process.execPath, args: [fileURLToPath(url)] };
}

async function open(options: Partial<McpServerOptions> = {}): Promise<McpTools> {
  const all = {
    name: "test",
    restartDelayMs: 10,
    ...script(import.meta.resolve("./stdio-server.ts")),
    ...options,
  } as McpServerOptions;
  return opened.use(await openMcpTools(all, log));
}

function raw(behaviour: string, options: Partial<McpServerOptions> = {}): Promise<McpTools> {
  const { command, args } = script(import.meta.resolve("./raw-server.ts"));
  return open({ command, args: [...args, behaviour], ...options });
}

function toolOf(source: McpTools, name: string): Tool {
  const tool = source.tools().find((item) => item.name === `test.${name}`);
  if (tool === undefined) throw new Error(`there is no tool ${name}`);
  return tool;
}

async function pidOf(source: McpTools): Promise<number> {
  const [, pid] = String(await resultOf(toolOf(source, "who"), {})).split(" ");
  return Number(pid);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("offers the tools of a server under its name, and calls them", async () => {
  const source = await open();
  expect(source.tools().map(({ name }) => name)).toContain("test.add");
  expect(source.rejected()).toEqual([]);
  expect(await resultOf(toolOf(source, "add"), { a: 1, b: 2 })).toEqual({ sum: 3 });
  expect(await resultOf(toolOf(source, "who"), {})).toMatch(/^stdio \d+$/);
  expect(await resultOf(toolOf(source, "picture"), {})).toEqual([
    { type: "text", text: "a dot" },
    { type: "image", mimeType: "image/png", data: "AAAA" },
  ]);
  const registry = createToolRegistry([], [source]);
  expect(registry.check("test.add", { a: "1", b: 2, c: 3 })?.message).toContain("- arguments.a must be number");
});

test("takes what it is not told for the worst, hints for what they are, and the operator's word over both", async () => {
  const source = await open({
    effects: { fail: { effect: WRITE, reversible: true }, who: { effect: EXTERNAL_WRITE, idempotent: true } },
  });
  const kinds = ["env", "add", "hang", "fail", "who"].map((name) => {
    const { effect, idempotent, reversible } = toolOf(source, name);
    return { name, effect, idempotent, reversible };
  });
  expect(kinds).toEqual([
    { name: "env", effect: READ, idempotent: true, reversible: false },
    { name: "add", effect: EXTERNAL_WRITE, idempotent: true, reversible: false },
    { name: "hang", effect: EXTERNAL_WRITE, idempotent: false, reversible: false },
    { name: "fail", effect: WRITE, idempotent: false, reversible: true },
    { name: "who", effect: EXTERNAL_WRITE, idempotent: true, reversible: false },
  ]);
  const distrusted = await open({ trustAnnotations: false });
  expect(toolOf(distrusted, "env")).toMatchObject({ effect: EXTERNAL_WRITE, idempotent: false });
});

test("takes only the tools that are asked for, and says which of them are missing", async () => {
  const source = await open({ only: ["who", "gone"] });
  expect(source.tools().map(({ name }) => name)).toEqual(["test.who"]);
  expect(source.rejected()).toEqual([{ tool: "gone", problem: "the server does not have it" }]);
});

test("the child has none of our environment but what a program needs, and what it is given", async () => {
  process.env["SIGNALBOX_TEST_SECRET"] = "canary";
  const source = await open({ env: { API_KEY: "given" } });
  delete process.env["SIGNALBOX_TEST_SECRET"];
  const env = JSON.parse(String(await resultOf(toolOf(source, "env"), {}))) as Record<string, string>;
  expect(env["API_KEY"]).toBe("given");
  const allowed = ["API_KEY", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];
  expect(Object.keys(env).filter((name) => !allowed.includes(name))).toEqual([]);
});

test("a tool that says it failed has failed, with what it said", async () => {
  const source = await open();
  expect(await errorOf(toolOf(source, "fail"), {})).toMatchObject({
    code: "MCP_TOOL_FAILED",
    message: "the disk is full",
    outcomeUnknown: false,
  });
  expect(await errorOf(toolOf(source, "throw"), {})).toMatchObject({ code: "MCP_TOOL_FAILED", message: "a bug" });
});

test("a server that crashes in a call leaves it unknown, or fit for a repeat when the tool is; and is started again", async () => {
  const source = await open();
  const before = await pidOf(source);
  const unknown = await errorOf(toolOf(source, "crash"), {});
  expect(unknown).toMatchObject({ code: "MCP_CONNECTION_LOST", retryable: true, outcomeUnknown: true });
  const after = await pidOf(source);
  expect(after).not.toBe(before);
  const safe = await errorOf(toolOf(source, "crash_safely"), {});
  expect(safe).toMatchObject({ code: "MCP_CONNECTION_LOST", retryable: true, outcomeUnknown: false });
  expect(isAlive(before)).toBe(false);
});

test("a call that hangs is given up, told to stop, and the others go on", async () => {
  const source = await open({ timeoutMs: 3_000 });
  const before = await pidOf(source);
  const hanging = errorOf(toolOf(source, "hang"), {});
  expect(await resultOf(toolOf(source, "add"), { a: 1, b: 1 })).toEqual({ sum: 2 });
  expect(await hanging).toMatchObject({ code: "TOOL_TIMEOUT", retryable: true, outcomeUnknown: true });
  expect(await pidOf(source)).toBe(before);
});

test("a server that does not come back from a call is replaced", async () => {
  const source = await open({ timeoutMs: 3_000, connectTimeoutMs: 5_000 });
  const before = await pidOf(source);
  expect((await errorOf(toolOf(source, "block"), {})).code).toBe("TOOL_TIMEOUT");
  const after = await until(() => pidOf(source).catch(() => undefined), { what: "another server", timeoutMs: 20_000 });
  expect(after).not.toBe(before);
  await until(() => !isAlive(before), { what: "the end of the server that hangs" });
}, 60_000);

test("an answer that is too large is refused, one beyond the message limit ends the connection", async () => {
  const source = await open({ maxResultBytes: 1_000, maxMessageBytes: 100_000 });
  const huge = toolOf(source, "huge");
  expect(await resultOf(huge, { bytes: 900 })).toHaveLength(900);
  // It took effect, as far as anybody knows, so it has not failed.
  expect(await resultOf(huge, { bytes: 2_000 })).toEqual({ omitted: textWith("more than the 1000") });
  const before = await pidOf(source);
  expect(await errorOf(huge, { bytes: 1_000_000 })).toMatchObject({
    code: "MCP_CONNECTION_LOST",
    outcomeUnknown: true,
  });
  expect(await pidOf(source)).not.toBe(before);
});

test("an answer that is not what the tool promised is none, though the tool may have done its work", async () => {
  const inputSchema = { type: "object" };
  const outputSchema = { type: "object", properties: { sum: { type: "number" } } };
  const broken = {
    name: "broken",
    inputSchema,
    outputSchema: { type: "object", properties: { a: { type: "nonsense" } } },
  };
  const source = await raw(JSON.stringify([{ name: "lies", inputSchema, outputSchema }, broken]));
  expect(await errorOf(toolOf(source, "lies"), {})).toMatchObject({
    code: "MCP_BAD_ANSWER",
    message: "test.lies answered what it does not promise: result.sum must be number",
    outcomeUnknown: true,
  });
  expect(source.rejected()).toEqual([{ tool: "broken", problem: textWith("schema/properties/a/type must be equal") }]);
});

test("hears of tools that come later", async () => {
  const source = await open();
  const registry = createToolRegistry([], [source]);
  expect(registry.get("test.grown")).toBeUndefined();
  await resultOf(toolOf(source, "grow"), {});
  const grown = await until(() => registry.get("test.grown"), { what: "the tool that comes later" });
  expect(await resultOf(grown, {})).toBe("late");
});

test("a tool with a nonsense schema or name is rejected with the reason, the others stay", async () => {
  const inputSchema = { type: "object" };
  const tools = [
    { name: "good", inputSchema: { ...inputSchema, "x-own": 1 } },
    { name: "bad_type", inputSchema: { ...inputSchema, properties: { a: { type: "strnig" } } } },
    { name: "remote", inputSchema: { ...inputSchema, properties: { a: { $ref: "https://example.com/a.json" } } } },
    { name: "large", inputSchema: { ...inputSchema, description: "x".repeat(70_000) } },
    { name: "async", inputSchema: { ...inputSchema, $async: true } },
    { name: "a/b", inputSchema },
    { name: "good", inputSchema },
    { name: "__proto__", inputSchema, description: "d".repeat(10_000) },
  ];
  const source = await raw(JSON.stringify(tools));
  expect(source.tools().map(({ name }) => name)).toEqual(["test.good", "test.__proto__"]);
  expect(toolOf(source, "__proto__").description).toHaveLength(4_000);
  expect(source.rejected().map(({ tool, problem }) => `${tool}: ${problem}`)).toEqual([
    textWith("bad_type: the JSON Schema can not be used: schema/properties/a/type must be equal to one of"),
    textWith("remote: the JSON Schema can not be used: can't resolve reference https://example.com/a.json"),
    textWith("large: the JSON Schema can not be used: schema has"),
    textWith("async: the JSON Schema can not be used: schema/$async"),
    textWith('a/b: "test.a/b" does not match'),
    "good: there is another tool of this name",
  ]);
  const error = await errorOf(toolOf(source, "good"), {});
  expect(error).toMatchObject({ code: "MCP_BAD_ANSWER", retryable: false, outcomeUnknown: true });
});

test("a schema that takes for ever is cut off", async () => {
  const inputSchema = { type: "object", properties: { a: { type: "string", pattern: "^(a+)+$" } } };
  const source = await raw(JSON.stringify([{ name: "slow", inputSchema }]));
  const error = await errorOf(toolOf(source, "slow"), { a: `${"a".repeat(60)}!` });
  expect(error).toMatchObject({ code: "TOOL_ARGUMENTS_INVALID", message: textWith("more than 1000 ms") });
});

test("a list of tools that is none is an error that says so", async () => {
  const error = await toolErrorOf(raw(JSON.stringify([{ name: 1 }])));
  expect(error).toMatchObject({ code: "MCP_UNAVAILABLE", retryable: true });
  expect(error.message).toMatch(/^the MCP server test is not available: /);
});

for (const behaviour of ["dies", "is silent", "floods"]) {
  test(`a server that ${behaviour} is said not to be available, and leaves no child`, async () => {
    const folder = opened.use(await mkdtempDisposable(join(tmpdir(), "signalbox-mcp-")));
    const pidFile = join(folder.path, "pids");
    const options = { connectTimeoutMs: 2_500, maxMessageBytes: 1_000_000, env: { PID_FILE: pidFile } };
    const error = await toolErrorOf(raw(behaviour, options));
    expect(error).toMatchObject({ code: "MCP_UNAVAILABLE", retryable: true });
    const pids = (await readFile(pidFile, "utf8")).trim().split("\n").map(Number);
    expect(pids.length).toBeGreaterThan(0);
    await until(() => !pids.some(isAlive), { what: "the end of every child" });
  });
}

test("a command that does not exist is named", async () => {
  const error = await toolErrorOf(open({ command: "/nonexistent/server", args: [] }));
  expect(error.message).toContain("/nonexistent/server");
});

test("a server that is not required may come later; until then its calls can be repeated", async () => {
  const source = await raw("dies", { required: false });
  expect(source.tools()).toEqual([]);
  await until(() => log.lines.some(({ message }) => message.startsWith("MCP server is away")), { what: "a warning" });
});

test("calls wait for a server that is being started again, up to a time", async () => {
  const source = await open({ connectTimeoutMs: 5_000, restartDelayMs: 60_000 });
  await errorOf(toolOf(source, "crash"), {});
  const error = await errorOf(toolOf(source, "who"), {});
  expect(error).toMatchObject({ code: "MCP_UNAVAILABLE", retryable: true, outcomeUnknown: false });
});

test("disposing ends the child, one that does not want to as well; doing it twice is fine", async () => {
  const source = await open();
  const pid = await pidOf(source);
  await source[Symbol.asyncDispose]();
  await source[Symbol.asyncDispose]();
  await until(() => !isAlive(pid), { what: "the end of the child" });
  expect((await errorOf(toolOf(source, "who"), {})).code).toBe("MCP_UNAVAILABLE");
  const folder = opened.use(await mkdtempDisposable(join(tmpdir(), "signalbox-mcp-")));
  const pidFile = join(folder.path, "pids");
  const stubborn = await raw("stubborn", { env: { PID_FILE: pidFile } });
  await stubborn[Symbol.asyncDispose]();
  const pids = (await readFile(pidFile, "utf8")).trim().split("\n").map(Number);
  await until(() => !pids.some(isAlive), { what: "the end of the stubborn child" });
});

test("the end of the run ends a call", async () => {
  const source = await open();
  const stop = new AbortController();
  const running = resultOf(toolOf(source, "hang"), {}, scopeOf({ signal: stop.signal }));
  const reason = new Error("stopped");
  stop.abort(reason);
  await expect(running).rejects.toBe(reason);
});

test("refuses a name that would not do in the name of a tool", async () => {
  await expect(open({ name: "a.b" })).rejects.toThrow("1 to 32 letters");
});
