import { expect, test } from "vitest";
import { createMockModel } from "../../src/models/mock-model.ts";
import { ModelError, type ModelRequest } from "../../src/models/model.ts";
import { createModels, type ModelsOptions } from "../../src/models/models.ts";
import { type Answer, hangs, openOpenAiServer, refuses, says, streamed } from "./openai-server.ts";

const question: ModelRequest = { model: "openai/tiny", messages: [{ role: "user", text: "What is a run?" }] };
const weather = { name: "weather.now", description: "Tells the weather.", inputSchema: { type: "object" } };
const quick = { initialBackoffMs: 1 } as const satisfies ModelsOptions;

async function ask(answers: readonly Answer[], request: Partial<ModelRequest> = {}, options: ModelsOptions = {}) {
  await using server = await openOpenAiServer(...answers);
  const models = createModels({ ...quick, openai: { baseUrl: server.baseUrl, apiKey: "sk-secret" }, ...options });
  const told: string[] = [];
  const signal = new AbortController().signal;
  const asking = models.generate({ ...question, ...request }, { signal, onText: (text) => told.push(text) });
  const [result] = await Promise.allSettled([asking]);
  return { result, told, requests: server.requests };
}

async function failureOf(...args: Parameters<typeof ask>): Promise<ModelError> {
  const { result } = await ask(...args);
  if (result.status === "fulfilled") throw new Error(`answered ${JSON.stringify(result.value)}`);
  expect(result.reason).toBeInstanceOf(ModelError);
  return result.reason as ModelError;
}

test("tells the text as it comes, and what the answer consumed", async () => {
  const arrived: string[] = [];
  await using server = await openOpenAiServer(
    streamed({
      pieces: ["A run ", "is one ", "piece of work."],
      // The next piece is sent only when the one before was told.
      before: async () => {
        const sent = arrived.length;
        arrived.push("");
        while (told.length < sent) await new Promise((resolve) => setImmediate(resolve));
      },
    }),
  );
  const told: string[] = [];
  const models = createModels({ openai: { baseUrl: server.baseUrl, apiKey: "sk-secret" } });
  const answer = await models.generate(question, {
    signal: new AbortController().signal,
    onText: (text) => told.push(text),
  });
  expect(told).toEqual(["A run ", "is one ", "piece of work."]);
  expect(answer).toEqual({
    text: "A run is one piece of work.",
    toolCalls: [],
    finishReason: "stop",
    model: "openai/tiny",
    usage: { inputTokens: 11, outputTokens: 7, costMicros: 0 },
  });
  expect(server.requests).toMatchObject([{ path: "/v1/chat/completions", authorization: "Bearer sk-secret" }]);
});

test("gives a conversation with calls and results, and translates the names of tools both ways", async () => {
  const calls = [{ id: "c2", name: "weather_now", args: `{"city":"Rome"}` }];
  const { result, requests } = await ask([streamed({ calls })], {
    messages: [
      { role: "system", text: "Be brief." },
      { role: "user", text: "Oslo and Rome?" },
      { role: "assistant", text: "", toolCalls: [{ id: "c1", name: "weather.now", args: { city: "Oslo" } }] },
      { role: "tool", toolCallId: "c1", name: "weather.now", result: { sky: "grey" } },
    ],
    tools: [weather],
  });
  expect(result).toMatchObject({
    value: {
      text: "",
      finishReason: "tool_calls",
      toolCalls: [{ id: "c2", name: "weather.now", args: { city: "Rome" } }],
    },
  });
  expect(requests[0]?.body).toMatchObject({
    model: "tiny",
    stream: true,
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Oslo and Rome?" },
      {
        role: "assistant",
        tool_calls: [{ id: "c1", function: { name: "weather_now", arguments: `{"city":"Oslo"}` } }],
      },
      { role: "tool", tool_call_id: "c1", content: `{"sky":"grey"}` },
    ],
    tools: [{ function: { name: "weather_now" } }],
  });
});

test("leaves arguments that are no JSON to whoever checks them", async () => {
  const { result } = await ask([streamed({ calls: [{ id: "c1", name: "weather_now", args: "{city" }] })], {
    tools: [weather],
  });
  expect(result).toMatchObject({ value: { toolCalls: [{ name: "weather.now", args: "{city" }] } });
});

test.each([
  ["nested too deeply", `{"city":${"[".repeat(5_000)}${"]".repeat(5_000)}}`],
  ["with half of a character", String.raw`{"city":"\ud800"}`],
  ["with a number beyond all", '{"city":1e999}'],
])("leaves arguments that no record takes to whoever checks them: %s", async (_what, args) => {
  const { result } = await ask([streamed({ calls: [{ id: "c1", name: "weather_now", args }] })], { tools: [weather] });
  expect(result).toMatchObject({ value: { toolCalls: [{ name: "weather.now", args }] } });
});

test("cuts off an answer whose calls do not fit on record", async () => {
  const call = { name: "weather_now", args: JSON.stringify({ city: "Ø".repeat(60_000) }) };
  const calls = Array.from({ length: 9 }, (_, index) => ({ id: `c${index}`, ...call }));
  expect(await failureOf([streamed({ calls })])).toMatchObject({ code: "MODEL_BAD_ANSWER", retryable: false });
});

test("counts itself when a provider's count is beyond reason", async () => {
  const usage = { prompt_tokens: 1e15, completion_tokens: 3 };
  const { result } = await ask([streamed({ pieces: ["A run."], usage })]);
  expect(result).toMatchObject({ value: { usage: { inputTokens: 4, outputTokens: 3 } } });
});

test.each([
  ["a rate limit", refuses(429, "slow down", { "retry-after": "0" })],
  ["an internal error", refuses(500, "oops")],
  ["an overloaded provider", refuses(503, "busy")],
  ["a cut stream", streamed({ pieces: ["A run is one "], cut: true })],
  [
    "an answer without an end",
    says(`data: {"id":"1","choices":[{"delta":{"content":"A run "}}]}\n\n`, "text/event-stream"),
  ],
  ["a page in place of an answer", says("<html>Welcome</html>", "text/html")],
  ["events that are no JSON", says("data: {oops\n\n", "text/event-stream")],
  ["an error inside the stream", says(`data: {"error":{"message":"overloaded"}}\n\n`, "text/event-stream")],
])("asks again after %s", async (_what, trouble) => {
  const { result, told, requests } = await ask([trouble, streamed({ pieces: ["A run is one piece."] })]);
  expect(result).toMatchObject({ status: "fulfilled", value: { text: "A run is one piece." } });
  expect(told.join("")).toBe("A run is one piece.");
  expect(requests).toHaveLength(2);
});

test("tells nothing more once a repeated answer says something else", async () => {
  const { result, told } = await ask([
    streamed({ pieces: ["A run is"], cut: true }),
    streamed({ pieces: ["A lease is something."] }),
  ]);
  expect(result).toMatchObject({ value: { text: "A lease is something." } });
  expect(told.join("")).toBe("A run is");
});

test.each([
  ["MODEL_RATE_LIMITED", true, refuses(429, "slow down", { "retry-after": "0" })],
  ["MODEL_UNAVAILABLE", true, refuses(502, "bad gateway")],
  ["MODEL_REFUSED", false, refuses(401, "no such key sk-secret")],
  ["MODEL_REFUSED", false, refuses(400, "no such parameter")],
  ["MODEL_REFUSED", false, refuses(404, "no such model")],
  ["MODEL_REFUSED", false, refuses(302, "elsewhere", { location: "http://127.0.0.1:9/" })],
  ["MODEL_REFUSED", false, refuses(429, "no credit", {}, "insufficient_quota")],
  ["MODEL_BAD_ANSWER", true, says("<html>Welcome</html>", "text/html")],
  ["MODEL_BAD_ANSWER", true, says(`data: {"choices":"no"}\n\n`, "text/event-stream")],
  ["MODEL_STREAM_CUT", true, streamed({ pieces: ["A run is"], cut: true })],
] as const)("fails with %s (retryable: %s) when that is all that comes", async (code, retryable, trouble) => {
  const error = await failureOf([trouble]);
  expect(error).toMatchObject({ code, retryable });
  expect(error.message).toMatch(/^openai\/tiny /);
  expect(error.message).not.toContain("sk-secret");
});

test("asks a model that refuses only once, and one that passes three times", async () => {
  expect((await ask([refuses(400, "no")])).requests).toHaveLength(1);
  expect((await ask([refuses(500, "oops")])).requests).toHaveLength(3);
});

test("does not wait for a provider that wants to be left alone for long", async () => {
  const { result, requests } = await ask([refuses(429, "slow down", { "retry-after": "3600" })]);
  expect(result).toMatchObject({ reason: { code: "MODEL_RATE_LIMITED", retryable: true, retryAfterMs: 3_600_000 } });
  expect(requests).toHaveLength(1);
});

test("gives up on a model that hangs, before its first word and in the middle", async () => {
  const patience = { silenceTimeoutMs: 50, maxAttempts: 1 };
  expect(await failureOf([hangs], {}, patience)).toMatchObject({
    code: "MODEL_TIMEOUT",
    message: "openai/tiny was silent for 50 ms",
  });
  const stalls = streamed({ pieces: ["A ", "run "], before: stallAfter(1) });
  const stalled = await failureOf([stalls], {}, patience);
  expect(stalled).toMatchObject({ code: "MODEL_TIMEOUT", retryable: true });
  expect(stalled.usage.inputTokens).toBeGreaterThan(0);
});

test("gives up on an answer that goes on for too long", async () => {
  const chatty = streamed({
    pieces: Array.from({ length: 1_000_000 }, () => "and "),
    before: () => new Promise((resolve) => setTimeout(resolve, 5)),
  });
  expect(await failureOf([chatty], {}, { timeoutMs: 60, maxAttempts: 1 })).toMatchObject({ code: "MODEL_TIMEOUT" });
});

test("cuts off an answer that never ends", async () => {
  const endless = streamed({ pieces: Array.from({ length: 60 }, () => "Ø".repeat(10_000)) });
  expect(await failureOf([endless])).toMatchObject({ code: "MODEL_BAD_ANSWER", retryable: false });
});

test("rejects with the reason of an aborted signal", async () => {
  await using server = await openOpenAiServer(hangs);
  const models = createModels({ openai: { baseUrl: server.baseUrl } });
  const stop = new AbortController();
  const asking = models.generate(question, { signal: stop.signal });
  stop.abort(new Error("canceled"));
  await expect(asking).rejects.toThrow("canceled");
});

test("says that nobody listens", async () => {
  await using server = await openOpenAiServer(hangs);
  const { baseUrl } = server;
  await server[Symbol.asyncDispose]();
  const models = createModels({ ...quick, openai: { baseUrl } });
  const asking = models.generate(question, { signal: new AbortController().signal });
  await expect(asking).rejects.toMatchObject({ code: "MODEL_UNAVAILABLE", retryable: true });
});

test("asks the next model of a chain, and counts what the one before consumed", async () => {
  const cut = streamed({ pieces: ["Half an ans"], cut: true });
  await using first = await openOpenAiServer(cut);
  await using second = await openOpenAiServer(streamed({ pieces: ["Whole."] }));
  const models = createModels({
    ...quick,
    compatible: { one: { baseUrl: first.baseUrl }, two: { baseUrl: second.baseUrl, apiKey: "k2" } },
    prices: { "one/*": { input: 1, output: 1 }, "two/b": { input: 10, output: 100 } },
  });
  const answer = await models.generate(
    { ...question, model: "one/a, two/b" },
    { signal: new AbortController().signal },
  );
  expect(answer).toMatchObject({ text: "Whole.", model: "two/b" });
  // Three cut answers at about four characters a token, and what the second model says of itself.
  expect(answer.usage).toEqual({
    inputTokens: 3 * 4 + 11,
    outputTokens: 3 * 3 + 7,
    costMicros: 3 * 7 + 11 * 10 + 7 * 100,
  });
  expect([first.requests.length, second.requests.length]).toEqual([3, 1]);
  expect(second.requests[0]?.authorization).toBe("Bearer k2");
});

test("fails with what every model of a chain said when none answers", async () => {
  const refusing = createMockModel([{ error: { code: "MODEL_REFUSED" } }]);
  const failing = createMockModel([{ error: { code: "MODEL_UNAVAILABLE", retryable: true } }]);
  const models = createModels({ ...quick, clients: { x: failing, y: refusing } });
  const asking = models.generate({ ...question, model: "x/1,y/2" }, { signal: new AbortController().signal });
  await expect(asking).rejects.toMatchObject({
    code: "MODEL_UNAVAILABLE",
    retryable: true,
    message: "no model answered: mock/1 fails, as scripted; mock/2 fails, as scripted",
    usage: { inputTokens: 4 * 4 },
  });
});

test("estimates what a provider does not count", async () => {
  const { result } = await ask([streamed({ pieces: ["Twelve chars"], usage: null })]);
  expect(result).toMatchObject({ value: { usage: { inputTokens: 4, outputTokens: 3 } } });
});

test.each([
  ["tiny", "names no model"],
  ["", "names no model"],
  ["nowhere/tiny", "there is no model provider nowhere; there are anthropic, google, mock, openai"],
  ["anthropic/claude", "set ANTHROPIC_API_KEY"],
  ["google/gemini", "set GOOGLE_GENERATIVE_AI_API_KEY"],
  ["openai/gpt", "set OPENAI_API_KEY"],
])("refuses the model %j and says the way out", async (model, message) => {
  const asking = createModels().generate({ ...question, model }, { signal: new AbortController().signal });
  await expect(asking).rejects.toMatchObject({
    code: "MODEL_REFUSED",
    retryable: false,
    message: expect.stringContaining(message) as string,
  });
});

function stallAfter(count: number): () => Promise<void> {
  let left = count;
  return () => (left-- > 0 ? Promise.resolve() : new Promise(() => {}));
}

test("takes no more bytes than an answer needs, in whatever form they come", async () => {
  const line = `data: {"id":"1","choices":[{"delta":{"content":"${"x".repeat(1_000_000)}`;
  const endless: Answer = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(line);
    const more = () => response.write("x".repeat(1_000_000), (error) => error == null && more());
    more();
  };
  const error = await failureOf([endless], {}, { maxAttempts: 1 });
  expect(error).toMatchObject({
    code: "MODEL_BAD_ANSWER",
    retryable: false,
    message: expect.stringContaining("bytes") as string,
  });
});
