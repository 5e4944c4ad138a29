import { expect, test } from "vitest";
import { costMicros, parsePrices } from "../../src/models/prices.ts";

const prices = parsePrices(`{"openai/gpt":{"input":1.25,"output":10},"openai/*":{"input":2,"output":2}}`);

test("a price is that of a million tokens, and costs are millionths, rounded up", () => {
  expect(costMicros(prices, "openai/gpt", { inputTokens: 1_000_000, outputTokens: 0 })).toBe(1_250_000);
  expect(costMicros(prices, "openai/gpt", { inputTokens: 1, outputTokens: 1 })).toBe(12);
});

test("the price of a model wins over that of its provider, and what has none costs nothing", () => {
  expect(costMicros(prices, "openai/other", { inputTokens: 1, outputTokens: 1 })).toBe(4);
  expect(costMicros(prices, "mock/assistant", { inputTokens: 9, outputTokens: 9 })).toBe(0);
  expect(costMicros(prices, "constructor", { inputTokens: 9, outputTokens: 9 })).toBe(0);
});

test.each([`[]`, `{"gpt":{"input":1,"output":1}}`, `{"a/b":{"input":-1,"output":1}}`, `{"a/b":{"input":1}}`, `oops`])(
  "refuses the table %s",
  (json) => expect(() => parsePrices(json)).toThrow(/JSON|Invalid|expected|Unrecognized/i),
);
