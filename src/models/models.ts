import { pause } from "../client/backoff.ts";
import {
  addUsage,
  type ModelAnswer,
  type ModelCallOptions,
  type ModelClient,
  ModelError,
  type ModelRequest,
  type ModelUsage,
  noUsage,
} from "./model.ts";
import { createOfflineModel } from "./offline-model.ts";
import { costMicros, type ModelPrices } from "./prices.ts";
import { createProviders, type ProviderOptions } from "./providers.ts";

/** Which models there are, and how patient to be with them. */
export interface ModelsOptions extends ProviderOptions {
  /** Clients of one's own by provider name; `request.model` is the rest of the name. They win over the built-in ones. */
  readonly clients?: Readonly<Record<string, ModelClient>> | undefined;
  /** What tokens cost, default nothing. */
  readonly prices?: ModelPrices | undefined;
  /** The longest time of one attempt, in milliseconds, default 300,000. */
  readonly timeoutMs?: number | undefined;
  /** The longest silence of a model, before its first word and between two, in milliseconds, default 60,000. */
  readonly silenceTimeoutMs?: number | undefined;
  /** How often each model is asked for one answer, default 3. */
  readonly maxAttempts?: number | undefined;
  /** The pause before a second attempt, twice as long before each further one, in milliseconds, default 500. */
  readonly initialBackoffMs?: number | undefined;
  /** A provider that wants to be left alone for longer is not asked again, in milliseconds, default 30,000. */
  readonly maxRetryAfterMs?: number | undefined;
}

type Patience = Required<
  Pick<ModelsOptions, "timeoutMs" | "silenceTimeoutMs" | "maxAttempts" | "initialBackoffMs" | "maxRetryAfterMs">
>;

/**
 * A client of every model there is: `openai/…`, `anthropic/…`, `google/…`, those of `compatible` and `clients`, and
 * `mock/assistant`, which answers offline. It repeats what may pass, asks the models of a chain (`a/x,b/y`) one after the
 * other, and counts what every attempt consumed, those that failed too. Connects with the first request.
 */
export function createModels(options: ModelsOptions = {}): ModelClient {
  const { prices = {}, timeoutMs = 300_000, silenceTimeoutMs = 60_000, maxAttempts = 3 } = options;
  const { initialBackoffMs = 500, maxRetryAfterMs = 30_000 } = options;
  const patience: Patience = { timeoutMs, silenceTimeoutMs, maxAttempts, initialBackoffMs, maxRetryAfterMs };
  const clients = new Map<string, ModelClient>([
    ["mock", createOfflineModel()],
    ...createProviders(options),
    ...Object.entries(options.clients ?? {}),
  ]);

  async function generate(request: ModelRequest, { signal, onText }: ModelCallOptions): Promise<ModelAnswer> {
    const teller = createTeller(onText);
    const failures: ModelError[] = [];
    let spent = noUsage;
    for (const model of chainOf(request.model)) {
      const client = clientOf(clients, model);
      for (let attempt = 1; ; attempt++) {
        signal.throwIfAborted();
        try {
          const asked = { ...request, model: model.slice(model.indexOf("/") + 1) };
          const answer = await askOnce(client, asked, signal, teller.attempt(), patience);
          return { ...answer, model, usage: addUsage(spent, priced(prices, model, answer.usage)) };
        } catch (error) {
          if (!(error instanceof ModelError)) throw error;
          spent = addUsage(spent, priced(prices, model, error.usage));
          const waitMs = pauseAfter(error, attempt, patience);
          if (waitMs === undefined) {
            failures.push(error);
            break;
          }
          await pause(waitMs, signal);
        }
      }
    }
    throw failureOf(failures, spent);
  }

  return { generate };
}

/** The models of a name, in the order in which they are asked. Throws a ModelError for a name that is none. */
function chainOf(name: string): string[] {
  const chain = name
    .split(",")
    .map((model) => model.trim())
    .filter((model) => model !== "");
  const bad = chain.find((model) => !/^[A-Za-z0-9_-]+\/\S+$/.test(model));
  if (chain.length > 0 && bad === undefined) return chain;
  const got = JSON.stringify(bad ?? name);
  throw refused(`${got} names no model; give provider/model, for example openai/gpt-5-mini or mock/assistant`);
}

function clientOf(clients: ReadonlyMap<string, ModelClient>, model: string): ModelClient {
  const provider = model.slice(0, model.indexOf("/"));
  const client = clients.get(provider);
  if (client !== undefined) return client;
  throw refused(`there is no model provider ${provider}; there are ${[...clients.keys()].toSorted().join(", ")}`);
}

function refused(message: string): ModelError {
  return new ModelError("MODEL_REFUSED", message, { retryable: false });
}

/** How long a client may take to notice that it is given up, in milliseconds. */
const noticeMs = 1_000;

/** One attempt, given up when it takes too long or falls silent. */
async function askOnce(
  client: ModelClient,
  request: ModelRequest,
  signal: AbortSignal,
  onText: (text: string) => void,
  { timeoutMs, silenceTimeoutMs }: Patience,
): Promise<ModelAnswer> {
  const giveUp = new AbortController();
  const stop = (message: string) => giveUp.abort(new ModelError("MODEL_TIMEOUT", message, { retryable: true }));
  const total = setTimeout(() => stop(`gave no whole answer within ${timeoutMs} ms`), timeoutMs);
  const silence = setTimeout(() => stop(`was silent for ${silenceTimeoutMs} ms`), silenceTimeoutMs);
  const both = AbortSignal.any([signal, giveUp.signal]);
  try {
    const answering = client.generate(request, {
      signal: both,
      // Providers tell an empty text when there is life, but nothing to show.
      onText: (text) => {
        silence.refresh();
        if (text !== "") onText(text);
      },
    });
    return await Promise.race([answering, leftBehind(both)]);
  } finally {
    clearTimeout(total);
    clearTimeout(silence);
  }
}

/** Rejects with the signal's reason some time after it has aborted, for clients that do not heed it. */
function leftBehind(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => setTimeout(() => reject(signal.reason as Error), noticeMs).unref(), {
      once: true,
    });
  });
}

/** How long to wait before asking the same model again, in milliseconds; undefined when that does not help. */
function pauseAfter(error: ModelError, attempt: number, patience: Patience): number | undefined {
  const { maxAttempts, initialBackoffMs, maxRetryAfterMs } = patience;
  if (!error.retryable || attempt >= maxAttempts) return undefined;
  const waitMs = Math.max(error.retryAfterMs ?? 0, initialBackoffMs * 2 ** (attempt - 1));
  return waitMs > maxRetryAfterMs ? undefined : waitMs;
}

function priced(prices: ModelPrices, model: string, usage: ModelUsage): ModelUsage {
  const { inputTokens, outputTokens } = usage;
  return { inputTokens, outputTokens, costMicros: usage.costMicros + costMicros(prices, model, usage) };
}

/** The error of a chain of which no model answered. */
function failureOf(failures: readonly ModelError[], usage: ModelUsage): ModelError {
  const last = failures.at(-1);
  if (last === undefined) throw new RangeError("a chain without failures has an answer");
  const message =
    failures.length === 1 ? last.message : `no model answered: ${failures.map((f) => f.message).join("; ")}`;
  const passing = failures.find(({ retryable }) => retryable);
  const { code, retryAfterMs } = passing ?? last;
  return new ModelError(code, message, { retryable: passing !== undefined, retryAfterMs, usage, cause: last.cause });
}

/** Tells of the text of several attempts as of one. */
interface Teller {
  /** What the next attempt tells its text. */
  attempt(): (text: string) => void;
}

function createTeller(onText: ((text: string) => void) | undefined): Teller {
  let told = "";
  return {
    attempt() {
      let length = 0;
      let same = true;
      return (text) => {
        const overlap = told.slice(length, length + text.length);
        same &&= text.startsWith(overlap);
        length += text.length;
        if (!same || length <= told.length) return;
        const more = text.slice(overlap.length);
        told += more;
        onText?.(more);
      };
    },
  };
}
