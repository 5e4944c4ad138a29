import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { defaultModelOf, openModels } from "../../src/cli/models.ts";
import { readSettings } from "../../src/cli/settings.ts";
import { openOpenAiServer, streamed } from "../models/openai-server.ts";
import { temporaryFolder } from "../stack/folder.ts";

test.each([
  [{}, "mock/assistant"],
  [{ OPENAI_API_KEY: "k" }, "openai/gpt-5.4-mini"],
  [{ OPENAI_API_KEY: "k", OPENAI_BASE_URL: "http://127.0.0.1:1/v1" }, "mock/assistant"],
  [{ ANTHROPIC_API_KEY: "k", GOOGLE_GENERATIVE_AI_API_KEY: "k" }, "anthropic/claude-sonnet-5-5"],
  [{ GOOGLE_GENERATIVE_AI_API_KEY: "k" }, "google/gemini-3.5-flash"],
  [{ OPENAI_API_KEY: "k", SIGNALBOX_MODEL: "own/x,mock/assistant" }, "own/x,mock/assistant"],
])("with %j agents ask %s", (env, model) => {
  expect(defaultModelOf(readSettings(env))).toBe(model);
});

const request = { model: "own/tiny", messages: [{ role: "user", text: "Hi." } as const] };

test("asks an endpoint of one's own, at the prices of a file", async () => {
  await using folder = await temporaryFolder();
  await using server = await openOpenAiServer(streamed({ pieces: ["Hello."] }));
  const path = join(folder.path, "prices.json");
  await writeFile(path, `{"own/*":{"input":2,"output":3}}`);
  const env = {
    SIGNALBOX_MODEL_PROVIDERS: JSON.stringify({ own: { baseUrl: server.baseUrl, apiKey: "k" } }),
    SIGNALBOX_MODEL_PRICES: `@${path}`,
  };
  const { models } = await openModels(readSettings(env));
  const answer = await models.generate(request, { signal: new AbortController().signal });
  expect(answer).toMatchObject({ text: "Hello.", usage: { costMicros: 11 * 2 + 7 * 3 } });
});

test("says which file has no prices", async () => {
  const opening = openModels(readSettings({ SIGNALBOX_MODEL_PRICES: "@/no/such/file" }));
  await expect(opening).rejects.toThrow(/SIGNALBOX_MODEL_PRICES: \/no\/such\/file has no prices: ENOENT/);
});
