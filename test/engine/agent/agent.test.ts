import { expect, test } from "vitest";
import { z } from "zod";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { type AgentOutput, createAgentHandler, type AgentHandlerOptions } from "../../../src/engine/agent/agent.ts";
import { HandlerError, ToolOutcomeUnknownError } from "../../../src/engine/handler-error.ts";
import { createMockModel, type MockScript } from "../../../src/models/mock-model.ts";
import { defineTool } from "../../../src/tools/define-tool.ts";
import { createFakeContext, type FakeWorld } from "./fake-context.ts";

const model = "mock/scripted";
const agent = { model };

async function run(
  script: MockScript,
  world: Partial<FakeWorld> = {},
  options: AgentHandlerOptions = {},
  input: unknown = "What?",
) {
  const mock = createMockModel(script);
  const fake = createFakeContext({ model: mock, agent, ...world });
  const ending = createAgentHandler(options)(fake.ctx, input as string);
  const [end] = await Promise.allSettled([ending]);
  return {
    ...fake,
    end,
    requests: mock.requests,
    output: (end.status === "fulfilled" ? end.value : end.reason) as unknown,
  };
}

const add = defineTool({
  name: "add",
  description: "Adds two numbers.",
  effect: ToolEffect.READ,
  idempotent: true,
  input: z.strictObject({ a: z.number(), b: z.number() }),
  run: ({ a, b }) => ({ sum: a + b }),
});
const broken = defineTool({
  name: "broken",
  description: "Fails.",
  effect: ToolEffect.READ,
  idempotent: true,
  input: z.strictObject({}),
  run: () => {
    throw new Error("out of order");
  },
});

const refused = defineTool({
  name: "pay",
  description: "Pays.",
  effect: ToolEffect.EXTERNAL_WRITE,
  input: z.strictObject({ cents: z.number() }),
  run: ({ cents }) => {
    const [code, message] = cents > 100 ? ["POLICY_DENIED", "no more than 1 EUR"] : ["APPROVAL_DENIED", "user:ada: no"];
    throw new HandlerError(code, message, { retryable: false });
  },
});

function calls(...toolCalls: { name: string; args?: { [key: string]: number | string } }[]) {
  return { toolCalls };
}

test("tells the model why a call was not allowed, and goes on", async () => {
  const script = [
    calls({ name: "pay", args: { cents: 500 } }, { name: "pay", args: { cents: 50 } }),
    { text: "I may not pay." },
  ];
  const { output, requests } = await run(script, { tools: [refused], agent: { model, tools: ["pay"] } });
  expect(output).toMatchObject({ text: "I may not pay." });
  expect(requests[1]?.messages.slice(-2)).toMatchObject([
    { role: "tool", result: { error: { code: "POLICY_DENIED", message: "no more than 1 EUR" } }, isError: true },
    { role: "tool", result: { error: { code: "APPROVAL_DENIED", message: "user:ada: no" } }, isError: true },
  ]);
});

test("answers with the text of the model", async () => {
  const { output, commands, requests } = await run([{ text: "A run." }], {
    agent: { model, instructions: "Be brief." },
  });
  expect(output).toEqual({ text: "A run.", turns: 1, model });
  expect(commands).toEqual(["step agent", `model ${model}`]);
  expect(requests[0]?.messages).toEqual([
    { role: "system", text: "Be brief." },
    { role: "user", text: "What?" },
  ]);
});

test("takes the default model for an agent without one, and for a run without an agent", async () => {
  const { commands } = await run([{ text: "Yes." }], { agent: {} }, { defaultModel: "mock/other" });
  expect(commands).toContain("model mock/other");
  expect((await run([{ text: "Yes." }], { agent: undefined })).commands).toContain("model mock/assistant");
});

test.each([["a text"], [{ text: "a text" }]])("takes %j for a question", async (input) => {
  const { requests } = await run([{ text: "Yes." }], {}, {}, input);
  expect(requests[0]?.messages.at(-1)).toEqual({ role: "user", text: "a text" });
});

test.each([[null], [""], [{ text: " " }]])("refuses %j, which asks nothing", async (input) => {
  expect((await run([], {}, {}, input)).output).toMatchObject({ code: "INVALID_INPUT", retryable: false });
});

test("makes the calls of the model side by side and tells it the results in their order", async () => {
  const script = [
    calls({ name: "add", args: { a: 1, b: 2 } }, { name: "add", args: { a: 3, b: 4 } }),
    { text: "3 and 7." },
  ];
  const { output, commands, requests } = await run(script, { tools: [add], agent: { model, tools: ["add"] } });
  expect(output).toMatchObject({ text: "3 and 7.", turns: 2 });
  expect(commands).toEqual(["step agent", `model ${model}`, "tool add", "tool add", `model ${model}`]);
  expect(requests[0]?.tools).toMatchObject([{ name: "add", description: "Adds two numbers." }]);
  expect(requests[1]?.messages.slice(1)).toEqual([
    {
      role: "assistant",
      text: "",
      toolCalls: [
        { id: "call_1_1", name: "add", args: { a: 1, b: 2 } },
        { id: "call_1_2", name: "add", args: { a: 3, b: 4 } },
      ],
    },
    { role: "tool", toolCallId: "call_1_1", name: "add", result: { sum: 3 } },
    { role: "tool", toolCallId: "call_1_2", name: "add", result: { sum: 7 } },
  ]);
});

test("tells the model of a tool that fails", async () => {
  const { requests } = await run([calls({ name: "broken" }), { text: "It failed." }], {
    tools: [broken],
    agent: { model, tools: ["broken"] },
  });
  expect(requests[1]?.messages.at(-1)).toMatchObject({ isError: true, result: { error: { message: "out of order" } } });
});

test("fails when nobody knows what a tool did: that is not the model's to decide", async () => {
  const open = {
    ...broken,
    run: () => {
      throw new ToolOutcomeUnknownError("who knows");
    },
  };
  const { output } = await run([calls({ name: "broken" })], { tools: [open], agent: { model, tools: ["broken"] } });
  expect(output).toBeInstanceOf(ToolOutcomeUnknownError);
});

test.each([
  ["a tool that is not there", { name: "fly" }, /there is no tool "fly"; there are add/],
  ["a tool of the worker that is not the agent's", { name: "broken" }, /there is no tool "broken"/],
  ["wrong arguments", { name: "add", args: { a: 1, b: "two" } }, /\bb\b/],
])("tells the model of %s, and goes on", async (_what, call, message) => {
  const { output, requests, commands } = await run([calls(call), { text: "Sorry." }], {
    tools: [add, broken],
    agent: { model, tools: ["add"] },
  });
  expect(output).toMatchObject({ text: "Sorry." });
  expect(commands.filter((command) => command.startsWith("tool"))).toEqual([]);
  const told = requests[1]?.messages.at(-1);
  expect(told).toMatchObject({
    isError: true,
    result: { error: { code: "TOOL_CALL_REFUSED", message: expect.stringMatching(message) as string } },
  });
});

test("fails when three turns in a row bring nothing but nonsense", async () => {
  const { output, requests } = await run(() => calls({ name: "fly" }), {
    tools: [add],
    agent: { model, tools: ["add"] },
  });
  expect(output).toMatchObject({ code: "AGENT_STUCK", retryable: false });
  expect(requests).toHaveLength(3);
});

test("fails when the model makes the same call again and again", async () => {
  const { output, commands } = await run(() => calls({ name: "add", args: { a: 1, b: 1 } }), {
    tools: [add],
    agent: { model, tools: ["add"] },
  });
  expect(output).toMatchObject({ code: "AGENT_STUCK" });
  expect(commands.filter((command) => command === "tool add")).toHaveLength(3);
});

test("makes at most 32 calls at once", async () => {
  const many = Array.from({ length: 40 }, (_, a) => ({ name: "add", args: { a, b: 0 } }));
  const { commands, requests } = await run([calls(...many), { text: "Done." }], {
    tools: [add],
    agent: { model, tools: ["add"] },
  });
  expect(commands.filter((command) => command === "tool add")).toHaveLength(32);
  expect(requests[1]?.messages.filter(({ role }) => role === "tool")).toHaveLength(40);
});

test("stops at the most turns that the agent allows", async () => {
  let number = 0;
  const endless = () => calls({ name: "add", args: { a: number++, b: 0 } });
  const { output, requests } = await run(endless, {
    tools: [add],
    agent: { model, tools: ["add"], limits: { maxTurns: 5 } },
  });
  expect(output).toMatchObject({
    code: "MAX_TURNS_REACHED",
    message: expect.stringContaining("limits.max_turns") as string,
  });
  expect(requests).toHaveLength(5);
});

test("asks once more after an empty answer, and fails after the second", async () => {
  const { output } = await run(({ messages }) => (messages.length > 1 ? { text: "Now." } : { text: " " }));
  expect(output).toMatchObject({ text: "Now.", turns: 2 });
  expect((await run(() => ({}))).output).toMatchObject({ code: "AGENT_STUCK" });
});

test("says that an answer is truncated, and that one was filtered away", async () => {
  expect((await run([{ text: "And then", finishReason: "length" }])).output).toMatchObject({ truncated: true });
  expect((await run([{ text: "", finishReason: "content_filter" }])).output).toMatchObject({
    code: "MODEL_REFUSED",
    retryable: false,
  });
});

test("fails when the worker does not have a tool of the agent", async () => {
  const { output } = await run([], { tools: [add], agent: { model, tools: ["add", "fly"] } });
  expect(output).toMatchObject({
    code: "TOOL_NOT_FOUND",
    retryable: false,
    message: expect.stringContaining(`agent Tester may use the tool "fly", but this worker has add`) as string,
  });
});

const search = defineTool({
  name: "vector.search",
  description: "Searches.",
  effect: ToolEffect.READ,
  idempotent: true,
  input: z.strictObject({ query: z.string() }),
  run: ({ query }) => ({
    citations: [0, 1].map((index) => ({
      document_id: `doc_${query}`,
      title: "T",
      start: index * 10,
      end: index * 10 + 5,
      text: `piece ${index}`,
      score: 0.5,
    })),
  }),
});

test("lists the pieces of documents that the answer cites", async () => {
  const script = [
    calls({ name: "vector.search", args: { query: "a" } }),
    calls({ name: "vector.search", args: { query: "b" } }, { name: "vector.search", args: { query: "a" } }),
    { text: "So it is [2, 3]. Really [2][9]." },
  ];
  const { output, requests } = await run(script, { tools: [search], agent: { model, tools: ["vector.search"] } });
  expect((output as AgentOutput).citations).toEqual([
    { number: 2, documentId: "doc_a", title: "T", start: 10, end: 15, text: "piece 1", score: 0.5 },
    { number: 3, documentId: "doc_b", title: "T", start: 0, end: 5, text: "piece 0", score: 0.5 },
  ]);
  const numbers = requests[2]?.messages.flatMap((message) =>
    message.role === "tool"
      ? [(message.result as { citations: { number: number }[] }).citations.map(({ number }) => number)]
      : [],
  );
  expect(numbers).toEqual([
    [1, 2],
    [3, 4],
    [1, 2],
  ]);
});

const helper = { agentId: "agt_helper", name: "Helper", preset: "helper" };
const planner = { agentId: "agt_planner", name: "Planner", tools: ["delegate"] };

test("gives work to other agents as child runs, and tells the model what became of it", async () => {
  const failing = { agentId: "agt_failing", name: "Failing" };
  const delegated = (name: string) => ({ name: "delegate", args: { agent: name, task: "Do it." } });
  const { output, commands, requests } = await run(
    [calls(delegated("helper"), delegated("Failing")), { text: "Half of it." }],
    {
      agent: { model, tools: ["delegate"] },
      otherAgents: [helper, failing, planner],
      children: { agt_helper: { text: "Done." }, agt_failing: new HandlerError("CHILD_FAILED", "it broke") },
    },
  );
  expect(output).toMatchObject({ text: "Half of it." });
  expect(commands).toEqual([
    "step agent",
    `model ${model}`,
    `run agt_helper "Do it."`,
    `run agt_failing "Do it."`,
    `model ${model}`,
  ]);
  expect(requests[1]?.messages.slice(-2)).toMatchObject([
    { result: { agent: "helper", answer: "Done." } },
    { isError: true, result: { error: { code: "CHILD_FAILED", message: "it broke" } } },
  ]);
  expect(requests[0]?.tools).toMatchObject([
    { name: "delegate", inputSchema: { properties: { agent: { enum: ["helper", "Failing"] } } } },
  ]);
});

test("takes over what other agents cite, under numbers of its own", async () => {
  const cited = (number: number, documentId: string) => ({
    number,
    documentId,
    title: "T",
    start: 0,
    end: 5,
    score: 0.5,
    text: "x",
  });
  const other = { agentId: "agt_other", name: "Other" };
  const delegated = (name: string) => ({ name: "delegate", args: { agent: name, task: "Look." } });
  const { output, requests } = await run([calls(delegated("helper"), delegated("Other")), { text: "Both [1][2]." }], {
    agent: { model, tools: ["delegate"] },
    otherAgents: [helper, other],
    children: {
      agt_helper: { text: "So [1].", citations: [cited(1, "doc_a")] },
      agt_other: { text: "And [1, 2].", citations: [cited(1, "doc_b"), cited(2, "doc_a")] },
    },
  });
  expect(requests[1]?.messages.slice(-2)).toMatchObject([
    { result: { answer: "So [1]." } },
    { result: { answer: "And [2, 1]." } },
  ]);
  expect((output as AgentOutput).citations?.map(({ number, documentId }) => [number, documentId])).toEqual([
    [1, "doc_a"],
    [2, "doc_b"],
  ]);
});

test("gives work only to the agents that it may", async () => {
  const { requests } = await run([{ text: "No." }], {
    agent: { model, tools: ["delegate:helper"] },
    otherAgents: [helper, { agentId: "agt_x", name: "X" }],
  });
  expect(requests[0]?.tools).toMatchObject([{ inputSchema: { properties: { agent: { enum: ["helper"] } } } }]);
});

test("calls an agent by its id when its name is too long to be recorded", async () => {
  const { requests } = await run([{ text: "No." }], {
    agent: { model, tools: ["delegate"] },
    otherAgents: [{ agentId: "agt_long", name: "x".repeat(500) }],
  });
  expect(requests[0]?.tools).toMatchObject([{ inputSchema: { properties: { agent: { enum: ["agt_long"] } } } }]);
});

test("finds the agents that it may give work to behind all others of the workspace", async () => {
  const others = Array.from({ length: 450 }, (_, index) => ({ agentId: `agt_${index}`, name: `Agent ${index}` }));
  const { requests } = await run([{ text: "No." }], {
    agent: { model, tools: ["delegate:helper"] },
    otherAgents: [...others, helper],
  });
  expect(requests[0]?.tools).toMatchObject([{ inputSchema: { properties: { agent: { enum: ["helper"] } } } }]);
});

const memory = { sessionHistory: true, compactAfterTokens: 5, keepTurns: 2 };
const turns = [
  ["q0", "a0"],
  ["q1", "a1"],
  ["q2", "a2"],
] as const;

test("remembers the session when its policy says so", async () => {
  const { requests } = await run([{ text: "Yes." }], {
    agent: { model, memory: { sessionHistory: true } },
    session: { turns, summary: "They met." },
  });
  expect(requests[0]?.messages.map((message) => ("text" in message ? message.text : ""))).toEqual([
    "What was said before, in short:\nThey met.",
    "q0",
    "a0",
    "q1",
    "a1",
    "q2",
    "a2",
    "What?",
  ]);
  expect((await run([{ text: "Yes." }], { session: { turns } })).requests[0]?.messages).toHaveLength(1);
});

// A step's output has up to 1 MiB on record.
test.each([
  ["of long turns", Array.from({ length: 20 }, (_, n) => [`${n} ${"記".repeat(30_000)}`, "Yes."] as const)],
  ["of thousands of short ones", Array.from({ length: 9_000 }, (_, n) => [`q${n}`, `a${n}`] as const)],
])("remembers the newest of a session %s, as much as goes on record, and counts the others", async (_what, said) => {
  const { requests, compactions } = await run(() => ({ text: "Yes." }), {
    agent: { model, memory },
    session: { turns: said, summary: "They met." },
  });
  const [, ...told] = requests[0]?.messages ?? [];
  expect(told.at(-3)).toEqual({ role: "user", text: said.at(-1)?.[0] });
  expect(told.length).toBeGreaterThan(8);
  expect(Buffer.byteLength(JSON.stringify(told))).toBeLessThan(600_000);
  expect(told.length).toBeLessThan(2 * 4_000);
  expect(compactions).toMatchObject([{ turnCount: 7 + said.length - 1 }]);
});

test("summarises the older turns of a session that has grown too long", async () => {
  const script = ({ messages }: { messages: readonly object[] }) => ({
    text: messages.length === 2 ? "All of it." : "Yes.",
  });
  const { output, commands, compactions, requests } = await run(script, {
    agent: { model, memory },
    session: { turns, summary: "They met." },
  });
  expect(output).toMatchObject({ text: "Yes." });
  expect(commands.slice(-2)).toEqual([`model ${model}`, "step compact"]);
  expect(compactions).toEqual([{ sessionId: "sess_1", summary: "All of it.", throughRunId: "run_1", turnCount: 9 }]);
  expect(requests[1]?.messages.at(-1)).toMatchObject({
    text: "Before: They met.\n\nUser: q0\nAssistant: a0\n\nUser: q1\nAssistant: a1",
  });
});

test("takes a summary of one's own, and answers although it fails", async () => {
  const own = await run(
    [{ text: "Yes." }],
    { agent: { model, memory }, session: { turns } },
    { summarise: async () => "Own." },
  );
  expect(own.compactions).toMatchObject([{ summary: "Own." }]);
  const failing = async () => {
    throw new HandlerError("MODEL_TIMEOUT", "too slow");
  };
  const failed = await run(
    [{ text: "Yes." }],
    { agent: { model, memory }, session: { turns } },
    { summarise: failing },
  );
  expect(failed.output).toMatchObject({ text: "Yes." });
  expect(failed.compactions).toEqual([]);
});

test("leaves a short session as it is", async () => {
  const short = { ...memory, compactAfterTokens: 1_000 };
  const { commands } = await run([{ text: "Yes." }], { agent: { model, memory: short }, session: { turns } });
  expect(commands).not.toContain("step compact");
});
