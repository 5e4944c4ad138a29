import { expect, test } from "vitest";
import { createMockModel } from "../../src/models/mock-model.ts";
import { createOfflineModel } from "../../src/models/offline-model.ts";
import type { ModelMessage, ModelRequest } from "../../src/models/model.ts";
import { createModels } from "../../src/models/models.ts";

const asks = (text: string): ModelMessage => ({ role: "user", text });
const open = () => ({ signal: new AbortController().signal });
const tool = (name: string, properties: object = {}) => ({
  name,
  description: "",
  inputSchema: { type: "object", properties },
});

function requestOf(...messages: ModelMessage[]): ModelRequest {
  return { model: "scripted", messages };
}

test("answers by the turn of the conversation, so that a repeat gets the same answer", async () => {
  const model = createMockModel([{ toolCalls: [{ name: "look", args: { at: 1 } }] }, { text: "Seen it." }]);
  const first = await model.generate(requestOf(asks("Look!")), open());
  expect(first).toMatchObject({
    finishReason: "tool_calls",
    toolCalls: [{ id: "call_1_1", name: "look", args: { at: 1 } }],
  });
  expect(await model.generate(requestOf(asks("Look!")), open())).toEqual(first);
  const messages: ModelMessage[] = [
    asks("Look!"),
    { role: "assistant", text: "", toolCalls: first.toolCalls },
    { role: "tool", toolCallId: "call_1_1", name: "look", result: "a cat" },
  ];
  expect(await model.generate(requestOf(...messages), open())).toMatchObject({
    text: "Seen it.",
    finishReason: "stop",
  });
  expect(model.requests).toHaveLength(3);
});

test("takes the rules that fit what the user said last", async () => {
  const model = createMockModel([
    { when: /^bye/i, text: "So long." },
    { when: "hello", text: "Hi." },
  ]);
  expect(await model.generate(requestOf(asks("Bye!")), open())).toMatchObject({ text: "So long." });
  expect(await model.generate(requestOf(asks("Bye!"), asks("well hello")), open())).toMatchObject({ text: "Hi." });
  await expect(model.generate(requestOf(asks("what?")), open())).rejects.toMatchObject({
    code: "MODEL_BAD_ANSWER",
    message: `the script has no reply for turn 1 after "what?"`,
  });
});

test("tells its text word by word and counts four characters as a token", async () => {
  const told: string[] = [];
  const model = createMockModel([{ text: "One two\n three. " }]);
  const answer = await model.generate(requestOf(asks("12345678")), { ...open(), onText: (text) => told.push(text) });
  expect(told).toEqual(["One", " two", "\n three. "]);
  expect(answer.usage).toEqual({ inputTokens: 2, outputTokens: 4, costMicros: 0 });
});

test("fails and hangs as scripted", async () => {
  const failing = createMockModel([{ text: "Half", error: { code: "MODEL_STREAM_CUT", retryable: true } }]);
  await expect(failing.generate(requestOf(asks("?")), open())).rejects.toMatchObject({
    retryable: true,
    usage: { outputTokens: 1 },
  });
  const stop = new AbortController();
  const hanging = createMockModel([{ hangs: true }]).generate(requestOf(asks("?")), { signal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(hanging).rejects.toThrow("enough");
});

const assistant = createModels();

async function offline(messages: ModelMessage[], ...tools: ReturnType<typeof tool>[]) {
  return assistant.generate({ model: "mock/assistant", messages, tools }, open());
}

test("the offline model says what it is and what it was told", async () => {
  const { text, model } = await offline([asks("What is a run?")]);
  expect(model).toBe("mock/assistant");
  expect(text).toContain("offline mock model");
  expect(text).toContain("What is a run?");
  expect((await offline([asks("One."), { role: "assistant", text: "Yes." }, asks("Two.")])).text).toContain("“One.”");
});

test("the offline model calls the tools that obviously fit", async () => {
  const all = [tool("calculator"), tool("time.now"), tool("vector.search")];
  const called = async (text: string, tools = all) =>
    (await offline([asks(text)], ...tools)).toolCalls.map(({ name, args }) => [name, args]);
  expect(await called("What is (3 + 4) * 6?")).toEqual([["calculator", { expression: "(3 + 4) * 6" }]]);
  expect(await called("What is 6*7, and what time is it?")).toEqual([
    ["calculator", { expression: "6*7" }],
    ["time.now", {}],
  ]);
  expect(await called("How do leases work?")).toEqual([["vector.search", { query: "How do leases work?" }]]);
  expect(await called("How do leases work?", [])).toEqual([]);
});

test("the offline model asks two agents when it can delegate", async () => {
  const delegate = tool("delegate", { agent: { enum: ["assistant_basic", "assistant_tools", "assistant_rag"] } });
  const { toolCalls } = await offline([asks("What is 6 * 7?")], delegate);
  expect(toolCalls.map(({ args }) => args)).toEqual([
    { agent: "assistant_rag", task: "What is 6 * 7?" },
    { agent: "assistant_tools", task: "What is 6 * 7?" },
  ]);
});

test("the offline model answers from results, with the numbers of what it cites", async () => {
  const result = { citations: [{ number: 1, text: "Runs are pieces of work. A lease is held by one worker." }] };
  const { text } = await offline(
    [
      asks("Who holds a lease?"),
      { role: "assistant", text: "" },
      { role: "tool", toolCallId: "c", name: "vector.search", result },
    ],
    tool("vector.search"),
  );
  expect(text).toContain("A lease is held by one worker. [1]");
});

test("the offline model is the only one of its provider", async () => {
  const asking = assistant.generate({ model: "mock/genius", messages: [asks("?")] }, open());
  await expect(asking).rejects.toMatchObject({ code: "MODEL_REFUSED" });
});

test("the offline model remembers no request: its worker lives long", () => {
  expect(createOfflineModel()).not.toHaveProperty("requests");
});

test("the offline model looks for arithmetic in the beginning of a text only, so that none keeps its worker busy", async () => {
  const calculator = { ...requestOf(asks(`${"(".repeat(300_000)} 1 + 1`)), tools: [tool("calculator")] };
  const answer = await createOfflineModel().generate({ ...calculator, model: "assistant" }, open());
  expect(answer.toolCalls).toEqual([]);
});
