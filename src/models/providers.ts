import { limitedFetch } from "./limited-fetch.ts";
import { type ModelClient, ModelError } from "./model.ts";
import type { SdkModel } from "./prompt.ts";
import { createSdkProvider } from "./sdk-provider.ts";

/** An endpoint that speaks OpenAI's chat completions. */
export interface CompatibleProvider {
  /** Up to and without `/chat/completions`, for example `http://127.0.0.1:11434/v1`. */
  readonly baseUrl: string;
  /** Sent as a bearer token; none when absent. */
  readonly apiKey?: string | undefined;
}

/** Which providers there are. */
export interface ProviderOptions {
  /** `openai/…`: OpenAI, or another endpoint that speaks its language. Default without a key, at OpenAI's address. */
  readonly openai?: Partial<CompatibleProvider> | undefined;
  /** `anthropic/…`. */
  readonly anthropic?: Partial<CompatibleProvider> | undefined;
  /** `google/…`: Gemini. */
  readonly google?: Partial<CompatibleProvider> | undefined;
  /** Further endpoints by the first part of the names of their models. */
  readonly compatible?: Readonly<Record<string, CompatibleProvider>> | undefined;
}

const openAiUrl = "https://api.openai.com/v1";

/** The clients of the providers, by name. Their packages are loaded with the first request to each. */
export function createProviders({
  openai,
  anthropic,
  google,
  compatible = {},
}: ProviderOptions): [string, ModelClient][] {
  const providers: [string, Partial<CompatibleProvider>, Load][] = [
    ["openai", { baseUrl: openAiUrl, ...defined(openai) }, loadOpenAi],
    ["anthropic", defined(anthropic), loadAnthropic],
    ["google", defined(google), loadGoogle],
    ...Object.entries(compatible).map(([name, provider]): [string, CompatibleProvider, Load] => [
      name,
      provider,
      loadCompatible,
    ]),
  ];
  return providers.map(([name, provider, load]) => [
    name,
    createSdkProvider({ name, secret: provider.apiKey ?? "", load: (model) => load(name, model, provider) }),
  ]);
}

type Load = (name: string, model: string, provider: Partial<CompatibleProvider>) => Promise<SdkModel>;

async function loadOpenAi(name: string, model: string, provider: Partial<CompatibleProvider>): Promise<SdkModel> {
  // An endpoint of one's own may well go without.
  if (provider.baseUrl === openAiUrl) requireKey(provider, "OPENAI_API_KEY");
  return loadCompatible(name, model, provider);
}

async function loadCompatible(
  name: string,
  model: string,
  { baseUrl = "", apiKey }: Partial<CompatibleProvider>,
): Promise<SdkModel> {
  const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
  const key = apiKey === undefined ? {} : { apiKey };
  return createOpenAICompatible({ name, baseURL: baseUrl, ...key, includeUsage: true, fetch: limitedFetch }).chatModel(
    model,
  );
}

async function loadAnthropic(_name: string, model: string, provider: Partial<CompatibleProvider>): Promise<SdkModel> {
  const apiKey = requireKey(provider, "ANTHROPIC_API_KEY");
  const { createAnthropic } = await import("@ai-sdk/anthropic");
  return createAnthropic({ apiKey, ...baseUrlOf(provider), fetch: limitedFetch })(model);
}

async function loadGoogle(_name: string, model: string, provider: Partial<CompatibleProvider>): Promise<SdkModel> {
  const apiKey = requireKey(provider, "GOOGLE_GENERATIVE_AI_API_KEY");
  const { createGoogle } = await import("@ai-sdk/google");
  return createGoogle({ apiKey, ...baseUrlOf(provider), fetch: limitedFetch })(model);
}

function requireKey({ apiKey }: Partial<CompatibleProvider>, variable: string): string {
  if (apiKey !== undefined) return apiKey;
  throw new ModelError("MODEL_REFUSED", `can not be asked without a key; set ${variable} for the worker`, {
    retryable: false,
  });
}

function baseUrlOf({ baseUrl }: Partial<CompatibleProvider>): { baseURL?: string } {
  return baseUrl === undefined ? {} : { baseURL: baseUrl };
}

/** Without the fields that are undefined, so that they do not win over defaults. */
function defined(provider: Partial<CompatibleProvider> = {}): Partial<CompatibleProvider> {
  const { baseUrl, apiKey } = provider;
  return { ...(baseUrl === undefined ? {} : { baseUrl }), ...(apiKey === undefined ? {} : { apiKey }) };
}
