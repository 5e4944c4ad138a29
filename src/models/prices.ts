import { z } from "zod";
import type { ModelUsage } from "./model.ts";

const pricesSchema = z.record(
  z.string().regex(/^[^/\s]+\/\S+$/),
  z.strictObject({ input: z.number().min(0).max(1_000_000), output: z.number().min(0).max(1_000_000) }),
);

/**
 * What models cost, by `provider/model`, or `provider/*` for all others of a provider. `input` and `output` are the price
 * of a million tokens in the installation's currency. A model that is not listed costs nothing.
 */
export type ModelPrices = Readonly<z.infer<typeof pricesSchema>>;

/** Reads a price table from JSON. Throws a SyntaxError or ZodError for anything else. */
export function parsePrices(json: string): ModelPrices {
  return pricesSchema.parse(JSON.parse(json));
}

/** What tokens of a model cost, in millionths of the currency, rounded up. */
export function costMicros(prices: ModelPrices, model: string, usage: Omit<ModelUsage, "costMicros">): number {
  const price = entry(prices, model) ?? entry(prices, `${model.split("/", 1)[0]}/*`);
  if (price === undefined) return 0;
  return Math.ceil(usage.inputTokens * price.input + usage.outputTokens * price.output);
}

function entry(prices: ModelPrices, model: string): ModelPrices[string] | undefined {
  return Object.hasOwn(prices, model) ? prices[model] : undefined;
}
