import { z } from "zod";
import { parsePrices } from "../models/prices.ts";
import type { Setting } from "./setting-table.ts";

const hidden = () => "********";
const apiKey = z
  .string()
  .regex(/^[!-~]+$/)
  .optional();
const keyText = "visible characters without spaces";
const milliseconds = z
  .string()
  .regex(/^\d{1,8}$/)
  .transform(Number)
  .refine((value) => value >= 1_000 && value <= 3_600_000);

const providersSchema = z.record(
  z.string().regex(/^[A-Za-z0-9_-]{1,40}$/),
  z.strictObject({ baseUrl: z.url({ protocol: /^https?$/ }), apiKey: z.string().min(1).optional() }),
);

/** Every setting of a worker's models, by its name in the program. */
export const modelSettingTable = {
  defaultModel: {
    variable: "SIGNALBOX_MODEL",
    schema: z
      .string()
      .regex(/^[A-Za-z0-9_-]+\/[^\s,]+(\s*,\s*[A-Za-z0-9_-]+\/[^\s,]+)*$/)
      .optional(),
    unset: "one of the first provider with a key, else mock/assistant, which is offline",
    allowed: "provider/model, or several with commas between: each is asked when those before it fail",
    example: "openai/gpt-5.4-mini,anthropic/claude-sonnet-5-5",
    description: "the model of agents that name none",
  },
  openaiApiKey: {
    variable: "OPENAI_API_KEY",
    schema: apiKey,
    unset: "none",
    allowed: keyText,
    example: "sk-your-key",
    description: "the key for models openai/…",
    mask: hidden,
  },
  openaiBaseUrl: {
    variable: "OPENAI_BASE_URL",
    schema: z.url({ protocol: /^https?$/ }).optional(),
    unset: "OpenAI's own",
    allowed: "an http:// or https:// address",
    example: "http://127.0.0.1:11434/v1",
    description: "where models openai/… are, for endpoints that speak OpenAI's language",
  },
  anthropicApiKey: {
    variable: "ANTHROPIC_API_KEY",
    schema: apiKey,
    unset: "none",
    allowed: keyText,
    example: "sk-ant-your-key",
    description: "the key for models anthropic/…",
    mask: hidden,
  },
  googleApiKey: {
    variable: "GOOGLE_GENERATIVE_AI_API_KEY",
    schema: apiKey,
    unset: "none",
    allowed: keyText,
    example: "AIza-your-key",
    description: "the key for models google/…",
    mask: hidden,
  },
  modelProviders: {
    variable: "SIGNALBOX_MODEL_PROVIDERS",
    schema: z
      .string()
      .refine(isParsedBy((text) => providersSchema.parse(JSON.parse(text))))
      .transform((text) => providersSchema.parse(JSON.parse(text)))
      .optional(),
    unset: "none",
    allowed: "JSON that gives each name of an endpoint its baseUrl and, where it needs one, its apiKey",
    example: `{"ollama":{"baseUrl":"http://127.0.0.1:11434/v1"}}`,
    description: "further endpoints that speak OpenAI's language, for models name/…",
    mask: hidden,
  },
  modelPrices: {
    variable: "SIGNALBOX_MODEL_PRICES",
    schema: z
      .string()
      .refine((text) => text.startsWith("@") || isParsedBy(parsePrices)(text))
      .optional(),
    unset: "none: models cost nothing",
    allowed:
      "JSON that gives each provider/model, or provider/*, the price of a million tokens, or @ and a file with it",
    example: `{"openai/gpt-5.4-mini":{"input":0.25,"output":2}}`,
    description: "what models cost; counts into the usage and the budget of runs",
  },
  modelTimeoutMs: {
    variable: "SIGNALBOX_MODEL_TIMEOUT_MS",
    schema: milliseconds,
    fallback: "300000",
    allowed: "milliseconds from 1000 to 3600000",
    example: "600000",
    description: "how long a model may take for a whole answer",
  },
  modelSilenceTimeoutMs: {
    variable: "SIGNALBOX_MODEL_SILENCE_TIMEOUT_MS",
    schema: milliseconds,
    fallback: "60000",
    allowed: "milliseconds from 1000 to 3600000",
    example: "120000",
    description: "how long a model may be silent, before its first word and between two",
  },
  traceContent: {
    variable: "SIGNALBOX_TRACE_CONTENT",
    schema: z.enum(["on", "off"]).transform((text) => text === "on"),
    fallback: "off",
    allowed: "on or off",
    example: "on",
    description: "whether OpenTelemetry spans carry what was said to models and tools",
  },
} as const satisfies Record<string, Setting>;

function isParsedBy(parse: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };
}
