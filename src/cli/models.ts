import { readFile } from "node:fs/promises";
import type { ModelClient } from "../models/model.ts";
import { createModels } from "../models/models.ts";
import { offlineModel } from "../models/offline-model.ts";
import { type ModelPrices, parsePrices } from "../models/prices.ts";
import { usageError } from "./cli-error.ts";
import type { ModelSettings } from "./settings.ts";

/** The models of a worker. */
export interface WorkerModels {
  readonly models: ModelClient;
  /** The model of agents that name none. */
  readonly defaultModel: string;
}

/** The models that the settings name. Throws a CliError for a price table that can not be read. */
export async function openModels(settings: ModelSettings): Promise<WorkerModels> {
  const { openaiApiKey, openaiBaseUrl, anthropicApiKey, googleApiKey, modelProviders } = settings;
  const models = createModels({
    openai: { apiKey: openaiApiKey, baseUrl: openaiBaseUrl },
    anthropic: { apiKey: anthropicApiKey },
    google: { apiKey: googleApiKey },
    compatible: modelProviders,
    prices: await readPrices(settings.modelPrices),
    timeoutMs: settings.modelTimeoutMs,
    silenceTimeoutMs: settings.modelSilenceTimeoutMs,
  });
  return { models, defaultModel: defaultModelOf(settings) };
}

/** The model of agents that name none: of the settings, else one of the first provider with a key, else the offline mock. */
export function defaultModelOf(settings: ModelSettings): string {
  const { defaultModel, openaiApiKey, openaiBaseUrl, anthropicApiKey, googleApiKey } = settings;
  if (defaultModel !== undefined) return defaultModel;
  // What an endpoint of one's own has, nobody knows.
  if (openaiApiKey !== undefined && openaiBaseUrl === undefined) return "openai/gpt-5.4-mini";
  if (anthropicApiKey !== undefined) return "anthropic/claude-sonnet-5-5";
  if (googleApiKey !== undefined) return "google/gemini-3.5-flash";
  return offlineModel;
}

async function readPrices(given: string | undefined): Promise<ModelPrices> {
  if (given === undefined) return {};
  if (!given.startsWith("@")) return parsePrices(given);
  const path = given.slice(1);
  try {
    return parsePrices(await readFile(path, "utf8"));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const hint = `Write JSON such as {"openai/*":{"input":0.25,"output":2}} into it, prices of a million tokens.`;
    throw usageError(`SIGNALBOX_MODEL_PRICES: ${path} has no prices: ${cause}`, hint);
  }
}
