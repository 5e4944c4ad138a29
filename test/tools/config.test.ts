import { expect, test } from "vitest";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import {
  defaultToolsConfig,
  mcpServersOf,
  packsOf,
  parseToolsConfig,
  type ToolsConfig,
} from "../../src/tools/config.ts";

function configOf(value: unknown): ToolsConfig {
  const parsed = parseToolsConfig(JSON.stringify(value));
  if ("problems" in parsed) throw new Error(parsed.problems.join("\n"));
  return parsed.config;
}

function problemsOf(text: string): readonly string[] {
  const parsed = parseToolsConfig(text);
  return "problems" in parsed ? parsed.problems : [];
}

test("a file that says nothing switches every pack on", () => {
  const names = packsOf(defaultToolsConfig, "files").flatMap(({ tools }) => tools.map(({ name }) => name));
  expect(names).toEqual([
    "calculator",
    "time.now",
    "time.convert",
    "vector.search",
    "vector.add",
    "filesystem.read",
    "filesystem.list",
    "filesystem.write",
    "http.fetch",
  ]);
  expect(configOf({})).toEqual(defaultToolsConfig);
});

test("packs are switched off one by one, and limited", () => {
  const config = configOf({
    packs: {
      calculator: false,
      "http.fetch": false,
      "filesystem.read": { maxFileBytes: 1_000 },
      "filesystem.write": false,
    },
  });
  const packs = packsOf(config, "files");
  expect(packs.map(({ name }) => name)).toEqual(["time", "vector.search", "vector.add", "filesystem.read"]);
  expect(packs.at(-1)?.tools[0]?.description).toContain("up to 1000 bytes");
});

test("an MCP server is a command or an address, with what the operator knows of its tools", () => {
  const config = configOf({
    mcpServers: {
      files: { command: "serve", args: ["-x"], effects: { put: { effect: "write", idempotent: true } }, only: ["put"] },
      web: {
        url: "https://example.com/mcp",
        headers: { a: "b" },
        headersFrom: { authorization: "TOKEN" },
        required: false,
      },
    },
  });
  const { servers, problems } = mcpServersOf(config, { TOKEN: "secret", OTHER: "not this" });
  expect(problems).toEqual([]);
  expect(servers).toEqual([
    expect.objectContaining({
      name: "files",
      command: "serve",
      args: ["-x"],
      env: {},
      only: ["put"],
      effects: { put: { effect: ToolEffect.WRITE, idempotent: true } },
    }),
    expect.objectContaining({
      name: "web",
      url: "https://example.com/mcp",
      headers: { a: "b", authorization: "secret" },
      required: false,
    }),
  ]);
});

test("a variable that is to be passed on and is not set is named", () => {
  const config = configOf({ mcpServers: { a: { command: "x", envFrom: { KEY: "MY_KEY", B: "EMPTY" } } } });
  expect(mcpServersOf(config, { EMPTY: "" }).problems).toEqual([
    "mcpServers.a.envFrom.KEY: the environment variable MY_KEY is not set",
    "mcpServers.a.envFrom.B: the environment variable EMPTY is not set",
  ]);
});

const bad: [string, string, RegExp][] = [
  ["no JSON", "{", /^it is not JSON: /],
  ["a list", "[]", /^the whole: .*expected object/],
  ["null", "null", /^the whole: /],
  ["a pack that is none", '{"packs":{"shell":true}}', /^packs: .*"shell"/],
  ["a field that is none", '{"pack":{}}', /"pack"/],
  ["a switch that is none", '{"packs":{"time":"yes"}}', /^packs\.time: /],
  ["a host that is none", '{"packs":{"http.fetch":{"allowHosts":["a b"]}}}', /^packs\.http\.fetch/],
  ["a limit that is none", '{"packs":{"filesystem.write":{"maxFileBytes":-1}}}', /^packs\.filesystem\.write/],
  ["a server without a place", '{"mcpServers":{"a":{}}}', /^mcpServers\.a\.command: /],
  [
    "a server in two places",
    '{"mcpServers":{"a":{"command":"x","url":"https://a.test"}}}',
    /^mcpServers\.a: .*"command"/,
  ],
  [
    "an address that is none",
    '{"mcpServers":{"a":{"url":"a.test"}}}',
    /^mcpServers\.a\.url: is no http or https address/,
  ],
  ["a name with a dot", '{"mcpServers":{"a.b":{"command":"x"}}}', /^mcpServers\.a\.b: /],
  [
    "an effect that is none",
    '{"mcpServers":{"a":{"command":"x","effects":{"t":{"effect":"maybe"}}}}}',
    /effects\.t\.effect: /,
  ],
  ["a variable that is none", '{"mcpServers":{"a":{"command":"x","envFrom":{"A":"B=C"}}}}', /envFrom\.A: is no name/],
];
for (const [what, text, problem] of bad) {
  test(`says what is wrong with ${what}`, () => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
  });
}

test("lists every problem at once", () => {
  expect(
    problemsOf('{"packs":{"time":1,"calculator":2},"mcpServers":{"a":{"command":""},"b":{"url":1}}}'),
  ).toHaveLength(4);
});
