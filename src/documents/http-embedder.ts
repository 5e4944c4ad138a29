import { z } from "zod";
import { SignalboxError } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";
import type { Embedder } from "./embedder.ts";
import { normalized } from "./vectors.ts";

/** How to reach a provider of embeddings. */
export interface HttpEmbedderOptions {
  /** The address of the API, for example `http://127.0.0.1:11434/v1`; `/embeddings` is added. */
  readonly url: string;
  /** The provider's name of the model. */
  readonly model: string;
  /** Sent as a bearer token; none when unset. */
  readonly apiKey?: string | undefined;
  /** How long one request may take, default 30 s. */
  readonly timeoutMs?: number | undefined;
  /** The pause before the second try, default 250 ms; it doubles each time. */
  readonly backoffMs?: number | undefined;
}

/** Texts of one request. */
const batchTexts = 64;
const tries = 4;
/** Four times what 64 vectors of 4,096 dimensions take in JSON. */
const maxBodyBytes = 32 * 1024 * 1024;

const answerSchema = z.object({
  data: z.array(z.object({ index: z.int().nonnegative(), embedding: z.array(z.number()).min(1) })),
});

/** What went wrong with one request, and whether another one may do better. */
class Failure extends Error {
  readonly passing: boolean;
  constructor(message: string, passing: boolean, cause?: unknown) {
    super(message, { cause });
    this.passing = passing;
  }
}

/** An embedder that asks an OpenAI-compatible API, 64 texts at a time; what may pass is tried four times. */
export function createHttpEmbedder(options: HttpEmbedderOptions): Embedder {
  const { model, backoffMs = 250 } = options;

  async function embedBatch(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await request(options, texts, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Failure)) throw error;
        if (!error.passing || attempt === tries) throw unavailable(error);
        await sleep(backoffMs * 2 ** (attempt - 1), signal);
        signal.throwIfAborted();
      }
    }
  }

  return {
    model,
    async embed(texts, signal) {
      const vectors: Float32Array[] = [];
      for (let from = 0; from < texts.length; from += batchTexts) {
        vectors.push(...(await embedBatch(texts.slice(from, from + batchTexts), signal)));
      }
      if (vectors.some(({ length }) => length !== vectors[0]?.length)) {
        throw unavailable(new Failure("answered with vectors of different lengths", false));
      }
      return vectors;
    },
  };
}

async function request(
  { url, model, apiKey, timeoutMs = 30_000 }: HttpEmbedderOptions,
  input: readonly string[],
  signal: AbortSignal,
): Promise<Float32Array[]> {
  const response = await fetch(`${url.replace(/\/+$/, "")}/embeddings`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify({ model, input, encoding_format: "float" }),
    // The key is for this address only; a redirect is an answer like any other that is not 200.
    redirect: "manual",
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  }).catch((error: unknown) => {
    // The error itself may name the address with a password in it; what lies behind it does not.
    throw new Failure("does not answer", true, error instanceof Error ? error.cause : undefined);
  });
  const body = await bodyOf(response);
  if (!response.ok) {
    const passing = response.status === 408 || response.status === 429 || response.status >= 500;
    // Providers repeat a key that they refuse.
    const said = apiKey === undefined ? body : body.replaceAll(apiKey, "***");
    throw new Failure(`answered with HTTP status ${response.status}`, passing, said.slice(0, 1_000));
  }
  return readAnswer(body, input.length);
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    // Web streams iterate in Node; the DOM's types do not say so.
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes > maxBodyBytes) break;
    }
  } catch (error) {
    throw new Failure("broke off its answer", true, error);
  }
  if (sizeBytes > maxBodyBytes) throw new Failure(`answered with more than ${maxBodyBytes} bytes`, false);
  return Buffer.concat(chunks).toString();
}

/** The vectors in the order of the texts. */
function readAnswer(body: string, count: number): Float32Array[] {
  const parsed = answerSchema.safeParse(parseJson(body));
  if (!parsed.success) throw new Failure("answered with something that is no list of embeddings", false, parsed.error);
  const byIndex = new Map(parsed.data.data.map(({ index, embedding }) => [index, embedding]));
  return Array.from({ length: count }, (_, index) => {
    const embedding = byIndex.get(index);
    if (embedding === undefined) throw new Failure(`answered without the embedding of text ${index}`, false);
    return normalized(embedding);
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure("answered with something that is no JSON", false, error);
  }
}

function unavailable(failure: Failure): SignalboxError {
  const advice = failure.passing
    ? "repeat with backoff"
    : "check SIGNALBOX_EMBEDDINGS_URL, SIGNALBOX_EMBEDDINGS_MODEL and SIGNALBOX_EMBEDDINGS_API_KEY";
  // What the provider said is for the log, where the cause goes.
  return new SignalboxError("STORE_UNAVAILABLE", `the embedding provider ${failure.message}; ${advice}`, {}, failure);
}
