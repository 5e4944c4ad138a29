import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { createStarterSet } from "../../src/cli/starter-set.ts";
import { follow, jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { type AgentOutput, createAgentHandler } from "../../src/engine/agent/agent.ts";
import { presets } from "../../src/engine/agent/presets.ts";
import { createModels } from "../../src/models/models.ts";
import { defaultToolsConfig, packsOf } from "../../src/tools/config.ts";
import { createToolRegistry, type ToolRegistry } from "../../src/tools/registry.ts";
import { signalbox } from "../cli/signalbox.ts";
import { openOpenAiServer, refuses, streamed } from "../models/openai-server.ts";
import { openInstallation } from "../support/installation.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const client = installation.client();
const env = { SIGNALBOX_URL: installation.url };
const none = new AbortController().signal;

beforeAll(async () => {
  await createStarterSet(client, none);
  installation.worker({ handlers: { agent: createAgentHandler() }, models: createModels(), tools: toolsOf() });
});

async function ask(client_: SignalboxClient, request: Parameters<SignalboxClient["runs"]["createRun"]>[0]) {
  const { run } = await client_.runs.createRun(request);
  const deltas: RunDelta[] = [];
  const types: string[] = [];
  const events = follow(client_, { filter: { runId: run?.runId ?? "" }, onDelta: (delta) => deltas.push(delta) });
  for await (const event of events) types.push(event.type);
  const ended = (await client_.runs.getRun({ runId: run?.runId ?? "" })).run as Run;
  return { run: ended, output: valueToJson(ended.output) as unknown as AgentOutput, types, deltas };
}

async function agentIdOf(preset: keyof typeof presets): Promise<string> {
  return (await client.agents.createAgent(presets[preset])).agent?.agentId ?? "";
}

describe("the presets, offline, by the API", () => {
  test("assistant_basic streams its answer and says that it is the mock", async () => {
    const { run, output, deltas } = await ask(client, {
      agentId: await agentIdOf("assistant_basic"),
      input: jsonValue("What is a run?"),
    });
    expect(run).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 1 });
    expect(output).toMatchObject({ model: "mock/assistant", turns: 1 });
    expect(output.text).toContain("offline mock model");
    expect(deltas.length).toBeGreaterThan(1);
    expect(deltas.map(({ delta }) => delta?.text).join("")).toBe(output.text);
    expect(run.usage?.outputTokens).toBeGreaterThan(0n);
  });

  test("assistant_tools calculates and tells the time, side by side", async () => {
    const { output, types } = await ask(client, {
      agentId: await agentIdOf("assistant_tools"),
      input: jsonValue("What is 6 * 7, and what time is it?"),
    });
    expect(output.text).toContain("42");
    expect(types.filter((type) => type === "tool_call.succeeded")).toHaveLength(2);
  });

  test("assistant_rag cites documents with span and score", async () => {
    const { output } = await ask(client, {
      agentId: await agentIdOf("assistant_rag"),
      input: jsonValue({ text: "When does a lease lapse and the run go to another worker?" }),
    });
    expect(output.citations?.[0]).toMatchObject({ number: 1, title: "Leases and fencing" });
    for (const { number, documentId, start, end, score, text } of output.citations ?? []) {
      expect(output.text).toContain(`[${number}]`);
      const { document } = await client.documents.getDocument({ documentId });
      expect(document?.text.slice(start, end)).toBe(text);
      expect(score).toBeGreaterThan(0);
    }
  });

  test("assistant_multiagent gives parts to child runs and waits for them without a worker", async () => {
    const { run, output, types } = await ask(client, {
      agentId: await agentIdOf("assistant_multiagent"),
      input: jsonValue("How do durable functions survive crashes?"),
    });
    expect(output.text).toContain("assistant_rag says:");
    expect(output.text).toContain("assistant_basic says:");
    expect(types).toContain("run.suspended");
    // What a child cites, its parent cites under numbers of its own.
    expect(output.citations?.[0]).toMatchObject({ number: 1, title: "Durable functions" });
    const { runs } = await client.runs.listRuns({ parentRunId: run.runId, minPosition: run.position });
    expect(runs.map(({ status }) => status)).toEqual([RunStatus.SUCCEEDED, RunStatus.SUCCEEDED]);
  });

  test("an agent remembers the session", async () => {
    const request = { agentId: await agentIdOf("assistant_basic"), sessionId: "sess_memory" };
    await ask(client, { ...request, input: jsonValue("My name is Ada.") });
    const { output } = await ask(client, { ...request, input: jsonValue("And now?") });
    expect(output.text).toContain("Before that you said: “My name is Ada.”");
  });
});

describe("the presets, offline, by the command line", () => {
  const run = (preset: string, input: string, ...more: string[]) =>
    signalbox(["run", "--preset", preset, "--input", input, ...more], env);

  test("assistant_basic streams its words and says that it is offline", async () => {
    const { code, stdout, stderr } = await run("assistant_basic", "hello there", "--watch");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^run_\w+\n.*offline mock model.*“hello there”/);
    expect(stderr).toMatch(/^offline: the mock model answered; set OPENAI_API_KEY/m);
  });

  test("assistant_tools shows its calls", async () => {
    const { stdout } = await run("assistant_tools", "What is 6 * 7?", "--watch");
    expect(stdout).toContain(`→ calculator  {"expression":"6 * 7"}`);
    expect(stdout).toContain(`← calculator  {"result":"42"}`);
  });

  test("assistant_rag lists what it cites", async () => {
    const { stdout } = await run("assistant_rag", "What happens to unknown tool calls?", "--watch");
    expect(stdout).toMatch(/^\[1\] Tool calls {2}doc_\w+ \d+–\d+ {2}score 0\.\d\d$/m);
  });

  test("assistant_multiagent shows its child runs", async () => {
    const { stdout } = await run("assistant_multiagent", "What is 3 + 4?", "--watch");
    expect(stdout).toMatch(/→ delegate assistant_rag {2}run_/);
    expect(stdout).toMatch(/← delegate assistant_tools {2}.*7/);
  });

  test("a session goes on, an agent is asked by its id, and programs get JSON", async () => {
    const first = await run("assistant_basic", "My name is Bob.", "--session", "sess_cli", "--wait", "--json");
    const { agentId } = JSON.parse(first.stdout) as Run;
    const args = ["run", "--agent", agentId, "--session", "sess_cli", "--input", "Who am I?", "--watch", "--json"];
    const second = await signalbox(args, env);
    const lines = second.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.some((line) => "delta" in line)).toBe(true);
    expect(lines.at(-1)).toMatchObject({ type: "run.succeeded" });
    expect(JSON.stringify(lines.at(-1))).toContain("My name is Bob.");
  });

  test("a preset that nobody made is refused with those that there are", async () => {
    const { code, stderr } = await run("assistant_magic", "hi");
    expect(code).toBe(2);
    expect(stderr).toContain("assistant_basic, assistant_tools, assistant_rag, assistant_multiagent");
  });

  test("presets create shows the agents that there are", async () => {
    const { stdout } = await signalbox(["presets", "create"], env);
    expect(stdout).toContain("Planner");
    const listed = await client.agents.listAgents({ preset: "assistant_rag" });
    expect(listed.agents).toHaveLength(1);
  });
});

test("a provider that streams is asked by the same code, and is asked again when it is too busy", async () => {
  const calls = [{ id: "c1", name: "calculator", args: `{"expression":"6*7"}` }];
  await using server = await openOpenAiServer(
    refuses(429, "slow down", { "retry-after": "0" }),
    streamed({ calls }),
    // Slow enough that the pieces do not come as one.
    streamed({ pieces: ["It ", "is ", "42."], before: () => sleep(80) }),
  );
  const models = createModels({
    openai: { baseUrl: server.baseUrl },
    initialBackoffMs: 1,
    prices: { "openai/*": { input: 1, output: 2 } },
  });
  await using _worker = installation.worker({
    handlers: { agent: createAgentHandler({ defaultModel: "openai/tiny" }) },
    queues: ["streaming"],
    models,
    tools: toolsOf(),
  });
  const { run, output, deltas } = await ask(client, {
    agentId: await agentIdOf("assistant_tools"),
    queue: "streaming",
    input: jsonValue("What is 6 * 7?"),
  });
  expect(output).toEqual({ text: "It is 42.", turns: 2, model: "openai/tiny" });
  expect(deltas.length).toBeGreaterThan(1);
  expect(server.requests.at(-1)?.body.messages.at(-1)).toMatchObject({ role: "tool", content: `{"result":"42"}` });
  expect(run.usage).toMatchObject({ inputTokens: 22n, outputTokens: 14n, costMicros: 50n });
});

/** The tools that a worker has when nobody says otherwise. */
function toolsOf(): ToolRegistry {
  return createToolRegistry(packsOf(defaultToolsConfig, ".signalbox/files").flatMap(({ tools }) => tools));
}
