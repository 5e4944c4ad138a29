import { expect, test } from "vitest";
import { StepKind, StepStatus, valueToJson } from "../../src/client/client.ts";
import { type ModelAnswer, type ModelClient, ModelError, type ModelRequest } from "../../src/engine/worker.ts";
import { fakeEngine } from "./fake-engine.ts";
import { outcomeOf } from "./running.ts";

const usage = { inputTokens: 10, outputTokens: 3, costMicros: 7 };
const answer: ModelAnswer = { text: "Hello", toolCalls: [], finishReason: "stop", model: "mock/m", usage };
const request: ModelRequest = { model: "mock/m", messages: [{ role: "user", text: "Hi" }], tools: [] };

/** A client that answers as it is told, and counts. */
function models(generate: ModelClient["generate"]): ModelClient & { asked: number } {
  const client = {
    asked: 0,
    generate(...call: Parameters<ModelClient["generate"]>) {
      client.asked++;
      return generate(...call);
    },
  };
  return client;
}

test("an answer is recorded with its usage, and a replay does not ask again", async () => {
  const engine = fakeEngine();
  const client = models(async () => answer);
  const { output, run } = await outcomeOf(
    engine,
    async (ctx) => {
      const { text } = await ctx.model(request);
      if (ctx.attempt === 1) throw new Error("again");
      return text;
    },
    {},
    { models: client },
  );
  expect(output).toBe("Hello");
  expect(client.asked).toBe(1);
  const step = run.steps.get("model");
  expect(step).toMatchObject({
    kind: StepKind.MODEL,
    status: StepStatus.COMPLETED,
    usage: { inputTokens: 10n, outputTokens: 3n, costMicros: 7n },
  });
  expect(valueToJson(step?.output)).toEqual(answer);
  expect(valueToJson(step?.input)).toEqual({
    model: "mock/m",
    message_count: 1,
    last_message: { role: "user", text: "Hi" },
    tools: [],
  });
});

test("the text is shown as it comes, under the key of the command", async () => {
  const engine = fakeEngine();
  const client = models(async (_request, { onText }) => {
    for (const word of ["Hel", "lo"]) onText?.(word);
    return answer;
  });
  await outcomeOf(
    engine,
    async (ctx) => {
      await ctx.model(request, { name: "greet" });
      await ctx.model(request, { name: "silent", stream: false });
    },
    {},
    { models: client },
  );
  expect(engine.deltas).toMatchObject([{ stepKey: "greet", text: "Hello", index: 0 }]);
});

test("what failed attempts of a model consumed counts, and the error keeps its code", async () => {
  const engine = fakeEngine();
  const client = models(async () => {
    throw new ModelError("MODEL_REFUSED", "mock/m refuses this", { retryable: false, usage });
  });
  const { error } = await outcomeOf(engine, (ctx) => ctx.model(request), {}, { models: client });
  expect(error).toMatchObject({ code: "MODEL_REFUSED", message: "mock/m refuses this", retryable: false });
  expect(engine.callsOf("failStep")[0]?.request).toMatchObject({ usage: { inputTokens: 10n } });
});

test("a client that answers nonsense fails the step with MODEL_BAD_ANSWER", async () => {
  const client = models(async () => ({ says: "hi" }) as unknown as ModelAnswer);
  const { error } = await outcomeOf(
    fakeEngine(),
    (ctx) => ctx.model(request),
    { retryPolicy: { maxAttempts: 1 } },
    { models: client },
  );
  expect(error).toMatchObject({ code: "MODEL_BAD_ANSWER" });
});

test("a request may be repeated in place", async () => {
  const client = models(async () => {
    if (client.asked === 1) throw new ModelError("MODEL_UNAVAILABLE", "down", { retryable: true });
    return answer;
  });
  const { status } = await outcomeOf(
    fakeEngine(),
    (ctx) => ctx.model(request, { retry: { maxAttempts: 2, initialBackoffMs: 1 } }),
    {},
    { models: client },
  );
  expect([status, client.asked]).toEqual(["SUCCEEDED", 2]);
});

test("a worker without models says so", async () => {
  const { error } = await outcomeOf(fakeEngine(), (ctx) => ctx.model(request));
  expect(error).toMatchObject({ code: "MODELS_UNAVAILABLE", retryable: false });
});
