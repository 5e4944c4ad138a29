import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { JsonValue } from "../client/json.ts";
import {
  type FinishReason,
  type ModelAnswer,
  type ModelClient,
  ModelError,
  type ModelErrorCode,
  type ModelMessage,
  type ModelRequest,
} from "./model.ts";
import { estimateUsage } from "./tokens.ts";

/** What a mock model answers. */
export interface MockReply {
  /** Default empty. */
  readonly text?: string | undefined;
  /** Default none. */
  readonly toolCalls?: readonly { readonly name: string; readonly args?: JsonValue | undefined }[] | undefined;
  /** Default `tool_calls` with calls, else `stop`. */
  readonly finishReason?: FinishReason | undefined;
  /** Fails, after the text if there is one, in place of an answer. */
  readonly error?: { readonly code: ModelErrorCode; readonly retryable?: boolean | undefined } | undefined;
  /** Never answers; rejects when the signal aborts. */
  readonly hangs?: boolean | undefined;
}

/** A reply of a script, and to whom it is given. */
export interface MockRule extends MockReply {
  /** Kept for conversations whose newest words of the user contain or match this; default every conversation. */
  readonly when?: string | RegExp | undefined;
}

/** Replies in the order of a conversation, or what makes one of a request. */
export type MockScript = readonly MockRule[] | ((request: ModelRequest) => MockReply);

/** A model that does what its script says. */
export interface MockModel extends ModelClient {
  /** Every request so far, oldest first. */
  readonly requests: readonly ModelRequest[];
}

/** How a mock model talks. */
export interface MockModelOptions {
  /** How long it pauses after each word, in milliseconds, default 0. */
  readonly wordMs?: number | undefined;
}

/**
 * A model that needs no network. Of a list, the reply depends on the conversation alone: of the rules whose `when` fits the
 * user's newest words, the one for as many turns as the model has had since; so a replayed or repeated request gets the
 * same answer. Text comes word by word, the ids of calls are `call_<turn>_<number>`, and four characters count as a token.
 */
export function createMockModel(script: MockScript, options: MockModelOptions = {}): MockModel {
  const requests: ModelRequest[] = [];
  const reply = typeof script === "function" ? script : (request: ModelRequest) => scripted(script, request);
  const { generate } = createReplyingModel((request) => {
    requests.push(request);
    return reply(request);
  }, options);
  return { requests, generate };
}

/** A model that talks as a mock model does, and remembers nothing: for workers that live long. */
export function createReplyingModel(
  reply: (request: ModelRequest) => MockReply,
  { wordMs = 0 }: MockModelOptions,
): ModelClient {
  async function generate(request: ModelRequest, { signal, onText }: Parameters<ModelClient["generate"]>[1]) {
    // Behind `createModels` it is told the bare name; alone it stands for every model.
    const model = request.model.includes("/") ? request.model : `mock/${request.model}`;
    const { text = "", toolCalls = [], error, hangs = false, finishReason } = reply(request);
    const turn = request.messages.filter(({ role }) => role === "assistant").length + 1;
    const calls = toolCalls.map(({ name, args = {} }, index) => ({ id: `call_${turn}_${index + 1}`, name, args }));
    for (const word of text.match(/\s*\S+\s*$|\s*\S+/g) ?? []) {
      await (wordMs === 0 ? nextTurn() : sleep(wordMs, undefined, { signal }));
      signal.throwIfAborted();
      onText?.(word);
    }
    if (hangs) await aborted(signal);
    const usage = estimateUsage(request, { text, toolCalls: calls });
    if (error !== undefined) {
      const { code, retryable = false } = error;
      throw new ModelError(code, `${model} fails, as scripted`, { retryable, usage });
    }
    return {
      text,
      toolCalls: calls,
      finishReason: finishReason ?? (calls.length > 0 ? "tool_calls" : "stop"),
      model,
      usage,
    } satisfies ModelAnswer;
  }

  return { generate };
}

/** How many turns the model has had since the user's newest words. */
function turnOf(messages: readonly ModelMessage[]): number {
  return sinceUser(messages).filter(({ role }) => role === "assistant").length;
}

/** What was said after the user's newest words; everything when the user has said nothing. */
export function sinceUser(messages: readonly ModelMessage[]): readonly ModelMessage[] {
  return messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1);
}

/** The user's newest words; empty when there are none. */
export function userText(messages: readonly ModelMessage[]): string {
  const message = messages.findLast(({ role }) => role === "user");
  return message?.role === "user" ? message.text : "";
}

function scripted(rules: readonly MockRule[], { messages }: ModelRequest): MockReply {
  const said = userText(messages);
  const turn = turnOf(messages);
  const reply = rules.filter(({ when }) => fits(when, said))[turn];
  if (reply !== undefined) return reply;
  const message = `the script has no reply for turn ${turn + 1} after ${JSON.stringify(said.slice(0, 200))}`;
  throw new ModelError("MODEL_BAD_ANSWER", message, { retryable: false });
}

function fits(when: MockRule["when"], said: string): boolean {
  if (when === undefined) return true;
  return typeof when === "string" ? said.includes(when) : said.search(when) !== -1;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
