import { expect, test } from "vitest";
import { createModels } from "../../src/models/models.ts";
import { openOpenAiServer, refuses, says } from "./openai-server.ts";

const request = {
  messages: [
    { role: "system", text: "Be brief." } as const,
    { role: "user", text: "Weather in Oslo?" } as const,
    {
      role: "assistant",
      text: "",
      toolCalls: [{ id: "c1", name: "weather.now", args: {}, providerData: { google: { thoughtSignature: "sig" } } }],
    } as const,
    { role: "tool", toolCallId: "c1", name: "weather.now", result: { sky: "grey" } } as const,
  ],
  tools: [{ name: "weather.now", description: "Tells the weather.", inputSchema: { type: "object", properties: {} } }],
};

function events(...data: object[]): string {
  return data
    .map((item) => `event: ${"type" in item ? String(item.type) : "message"}\ndata: ${JSON.stringify(item)}\n\n`)
    .join("");
}

const anthropicAnswer = events(
  {
    type: "message_start",
    message: {
      id: "m1",
      type: "message",
      role: "assistant",
      model: "claude",
      content: [],
      usage: { input_tokens: 20, output_tokens: 1 },
    },
  },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "It is " } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "grey." } },
  { type: "content_block_stop", index: 0 },
  {
    type: "content_block_start",
    index: 1,
    content_block: { type: "tool_use", id: "t1", name: "weather_now", input: {} },
  },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: `{"city":` } },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: `"Rome"}` } },
  { type: "content_block_stop", index: 1 },
  { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 9 } },
  { type: "message_stop" },
);

test("speaks to Anthropic", async () => {
  await using server = await openOpenAiServer(says(anthropicAnswer, "text/event-stream"));
  const models = createModels({ anthropic: { apiKey: "sk-ant", baseUrl: server.baseUrl } });
  const told: string[] = [];
  const answer = await models.generate(
    { ...request, model: "anthropic/claude" },
    { signal: new AbortController().signal, onText: (text) => told.push(text) },
  );
  expect(told).toEqual(["It is ", "grey."]);
  expect(answer).toMatchObject({
    text: "It is grey.",
    toolCalls: [{ name: "weather.now", args: { city: "Rome" } }],
    finishReason: "tool_calls",
    usage: { inputTokens: 20, outputTokens: 9 },
  });
  expect(server.requests[0]).toMatchObject({
    path: "/v1/messages",
    body: {
      system: [{ text: "Be brief." }],
      messages: [
        { role: "user" },
        { role: "assistant", content: [{ type: "tool_use", id: "c1", name: "weather_now" }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "c1" }] },
      ],
      tools: [{ name: "weather_now" }],
    },
  });
});

const googleAnswer = [
  { candidates: [{ content: { role: "model", parts: [{ text: "It is " }] } }] },
  {
    candidates: [
      {
        content: {
          role: "model",
          parts: [
            { text: "grey." },
            { functionCall: { name: "weather_now", args: { city: "Rome" } }, thoughtSignature: "next" },
          ],
        },
        finishReason: "STOP",
      },
    ],
    usageMetadata: { promptTokenCount: 20, candidatesTokenCount: 9, totalTokenCount: 29 },
  },
];

test("speaks to Google, and gives back the signatures that it wants to see again", async () => {
  const body = googleAnswer.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("");
  await using server = await openOpenAiServer(says(body, "text/event-stream"));
  const models = createModels({ google: { apiKey: "AIza", baseUrl: server.baseUrl } });
  const answer = await models.generate(
    { ...request, model: "google/gemini" },
    { signal: new AbortController().signal },
  );
  expect(answer).toMatchObject({
    text: "It is grey.",
    toolCalls: [
      { name: "weather.now", args: { city: "Rome" }, providerData: { google: { thoughtSignature: "next" } } },
    ],
    finishReason: "tool_calls",
    usage: { inputTokens: 20, outputTokens: 9 },
  });
  expect(server.requests[0]?.path).toMatch(/^\/v1\/models\/gemini:streamGenerateContent/);
  expect(JSON.stringify(server.requests[0]?.body)).toContain(`"thoughtSignature":"sig"`);
});

test.each(["anthropic/claude", "google/gemini"])("takes refusals of %s for what they are", async (model) => {
  await using server = await openOpenAiServer(refuses(529, "overloaded"), refuses(401, "bad key sk-secret"));
  const provider = { apiKey: "sk-secret", baseUrl: server.baseUrl };
  const models = createModels({ anthropic: provider, google: provider, initialBackoffMs: 1 });
  const asking = models.generate({ ...request, model }, { signal: new AbortController().signal });
  await expect(asking).rejects.toMatchObject({ code: "MODEL_REFUSED", retryable: false });
  await expect(asking).rejects.not.toMatchObject({ message: expect.stringContaining("sk-secret") as string });
  expect(server.requests).toHaveLength(2);
});

test.each(["anthropic/claude", "google/gemini"])("notices that an answer of %s was cut", async (model) => {
  const anthropicCut = anthropicAnswer.slice(0, anthropicAnswer.indexOf("event: content_block_stop"));
  const googleCut = `data: ${JSON.stringify(googleAnswer[0])}\n\n`;
  await using server = await openOpenAiServer(
    says(model.startsWith("google") ? googleCut : anthropicCut, "text/event-stream"),
  );
  const provider = { apiKey: "k", baseUrl: server.baseUrl };
  const models = createModels({ anthropic: provider, google: provider, maxAttempts: 1 });
  const asking = models.generate({ ...request, model }, { signal: new AbortController().signal });
  await expect(asking).rejects.toMatchObject({ code: "MODEL_STREAM_CUT", retryable: true });
});
