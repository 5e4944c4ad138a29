import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { createHttpEmbedder } from "../../src/documents/http-embedder.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { type Answer, countingVector, embeddings, openProvider } from "./provider.ts";

const signal = AbortSignal.timeout(20_000);

describe("the HTTP embedder", () => {
  test("asks in batches, with the key, and answers in the order of the texts with vectors of length 1", async () => {
    await using provider = await openProvider(({ input }) => embeddings(input.map(countingVector)));
    const embedder = createHttpEmbedder({ url: `${provider.url}/`, model: "small", apiKey: "key-1" });
    const texts = Array.from({ length: 130 }, (_, n) => "a".repeat(n % 3) + "b".repeat(4));
    const vectors = await embedder.embed(texts, signal);
    expect(vectors).toHaveLength(130);
    expect([...vectors[2]!].map((value) => value.toFixed(3))).toEqual(["0.447", "0.894"]);
    expect(vectors[129]).toEqual(vectors[0]);
    expect(provider.requests.map(({ input }) => input.length)).toEqual([64, 64, 2]);
    const [{ path, authorization, model }] = provider.requests as [(typeof provider.requests)[0]];
    expect({ path, authorization, model }).toEqual({
      path: "/v1/embeddings",
      authorization: "Bearer key-1",
      model: "small",
    });
    expect(embedder.model).toBe("small");
  });

  test("asks for nothing when there are no texts", async () => {
    await using provider = await openProvider(() => ({ status: 500, body: "" }));
    expect(await createHttpEmbedder({ url: provider.url, model: "m" }).embed([], signal)).toEqual([]);
    expect(provider.requests).toEqual([]);
  });

  test.each<[string, Answer]>([
    ["is overrun", { status: 429, body: "slow down" }],
    ["is ill", { status: 503, body: "" }],
    ["says nothing", undefined],
  ])("tries again when the provider %s", async (_what, trouble) => {
    await using provider = await openProvider(({ input }, n) =>
      n < 3 ? trouble : embeddings(input.map(countingVector)),
    );
    const embedder = createHttpEmbedder({ url: provider.url, model: "m", timeoutMs: 300, backoffMs: 1 });
    expect(await embedder.embed(["aa"], signal)).toHaveLength(1);
    expect(provider.requests).toHaveLength(4);
  });

  test.each<[string, Answer, string, number]>([
    ["stays ill", { status: 500, body: "secret" }, "answered with HTTP status 500; repeat with backoff", 4],
    [
      "refuses the key",
      { status: 401, body: "secret" },
      "answered with HTTP status 401; check SIGNALBOX_EMBEDDINGS_URL",
      1,
    ],
    ["sends us elsewhere", { status: 302, body: "" }, "answered with HTTP status 302; check", 1],
    ["answers nonsense", { status: 200, body: "<html>secret" }, "no JSON", 1],
    [
      "answers with another shape",
      { status: 200, body: '{"data":[{"embedding":"secret"}]}' },
      "no list of embeddings",
      1,
    ],
    [
      "leaves one out",
      { status: 200, body: '{"data":[{"index":7,"embedding":[1]}]}' },
      "without the embedding of text 0",
      1,
    ],
    ["mixes lengths", embeddings([[1], [1, 2]]), "vectors of different lengths", 1],
  ])("says so when the provider %s", async (_what, trouble, message, requests) => {
    await using provider = await openProvider(() => trouble);
    const embedder = createHttpEmbedder({ url: provider.url, model: "m", backoffMs: 1 });
    const refused = await embedder.embed(["a", "b"], signal).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SignalboxError);
    expect(refused).toMatchObject({ reason: "STORE_UNAVAILABLE", message: expect.stringContaining(message) as string });
    expect((refused as Error).message).not.toContain("secret");
    expect(provider.requests).toHaveLength(requests);
  });

  test("shows neither the key, which a provider may repeat, nor a password of the address", async () => {
    await using provider = await openProvider(() => ({ status: 401, body: "bad key: sk-secret" }));
    const options = { model: "m", apiKey: "sk-secret", backoffMs: 1 };
    const { host } = new URL(provider.url);
    for (const url of [provider.url, `http://me:pass-secret@${host}/v1`]) {
      const refused = await createHttpEmbedder({ url, ...options })
        .embed(["a"], signal)
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({ reason: "STORE_UNAVAILABLE" });
      expect(inspect(refused, { depth: 10 })).not.toContain("secret");
    }
  });

  test("stops reading an answer that does not end", async () => {
    await using provider = await openProvider(() => ({ status: 200, body: " ".repeat(33 * 1024 * 1024) }));
    const refused = createHttpEmbedder({ url: provider.url, model: "m" }).embed(["a"], signal);
    await expect(refused).rejects.toThrow("answered with more than 33554432 bytes");
  });

  test("gives up at once when its signal aborts", async () => {
    await using provider = await openProvider(() => undefined);
    const stop = new AbortController();
    const embedding = createHttpEmbedder({ url: provider.url, model: "m" }).embed(["a"], stop.signal);
    stop.abort();
    await expect(embedding).rejects.toThrow("aborted");
  });
});
