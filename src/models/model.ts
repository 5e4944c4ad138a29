import type { JsonValue } from "../client/json.ts";

/** A call of a tool that a model asks for. */
export interface ModelToolCall {
  /** Tells the call from the others of the conversation. */
  readonly id: string;
  readonly name: string;
  /** As the model gave them, not checked against the tool's schema; a string when they were no JSON. */
  readonly args: JsonValue;
  /** What the provider wants to see again with the call, opaque; Gemini refuses a conversation without it. */
  readonly providerData?: { readonly [provider: string]: { readonly [key: string]: JsonValue } } | undefined;
}

/** What was said in a conversation, oldest first. All of it is JSON, so that it can be recorded. */
export type ModelMessage =
  | { readonly role: "system"; readonly text: string }
  | { readonly role: "user"; readonly text: string }
  | { readonly role: "assistant"; readonly text: string; readonly toolCalls?: readonly ModelToolCall[] | undefined }
  | {
      readonly role: "tool";
      readonly toolCallId: string;
      readonly name: string;
      readonly result: JsonValue;
      readonly isError?: boolean | undefined;
    };

/** A tool as a model is told of it. */
export interface ModelTool {
  /** Any name; those that providers do not take are translated on the way. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments, an object. */
  readonly inputSchema: Readonly<Record<string, unknown>>;
}

/** What a model is asked. */
export interface ModelRequest {
  /** `provider/model`, or several with commas between: each is asked when those before it fail. */
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  readonly tools?: readonly ModelTool[] | undefined;
  /** 0 and more; default the model's own. */
  readonly temperature?: number | undefined;
  /** Default the model's own. */
  readonly maxOutputTokens?: number | undefined;
}

/** What an answer consumed, failed attempts included. */
export interface ModelUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Millionths of the installation's currency; 0 for a model without a price. */
  readonly costMicros: number;
}

/** Why a model stopped. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | "other";

/** What a model answered. All of it is JSON. */
export interface ModelAnswer {
  /** Empty when it only calls tools. */
  readonly text: string;
  /** In the model's order; empty when it calls none. */
  readonly toolCalls: readonly ModelToolCall[];
  readonly finishReason: FinishReason;
  /** Who answered, `provider/model`: not always the first that was asked. */
  readonly model: string;
  readonly usage: ModelUsage;
}

/** How an answer is waited for. */
export interface ModelCallOptions {
  readonly signal: AbortSignal;
  /**
   * Told of the text as it comes. What was told stays told: an attempt that is cut and repeated tells only what goes beyond
   * it, and nothing once it says something else. What counts is the answer's own text.
   */
  readonly onText?: ((text: string) => void) | undefined;
}

/** Asks models. */
export interface ModelClient {
  /** The answer. Throws a ModelError, or the signal's reason once that has aborted. */
  generate(request: ModelRequest, options: ModelCallOptions): Promise<ModelAnswer>;
}

/** Why there is no answer. */
export type ModelErrorCode =
  | "MODEL_TIMEOUT"
  | "MODEL_RATE_LIMITED"
  | "MODEL_UNAVAILABLE"
  | "MODEL_REFUSED"
  | "MODEL_BAD_ANSWER"
  | "MODEL_STREAM_CUT";

/** A model that did not answer. The message names the model and the way out; it carries no key. */
export class ModelError extends Error {
  override readonly name: string = "ModelError";
  readonly code: ModelErrorCode;
  /** True when the same request may well be answered later. */
  readonly retryable: boolean;
  /** When the provider wants to be asked again, in milliseconds from now; undefined when it does not say. */
  readonly retryAfterMs: number | undefined;
  /** What the attempts consumed although no answer came of them. */
  readonly usage: ModelUsage;

  constructor(
    code: ModelErrorCode,
    message: string,
    options: {
      readonly retryable: boolean;
      readonly retryAfterMs?: number | undefined;
      readonly usage?: ModelUsage | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs;
    this.usage = options.usage ?? noUsage;
  }
}

/** Nothing consumed. */
export const noUsage: ModelUsage = { inputTokens: 0, outputTokens: 0, costMicros: 0 };

/** Both together. */
export function addUsage(a: ModelUsage, b: ModelUsage): ModelUsage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    costMicros: a.costMicros + b.costMicros,
  };
}
