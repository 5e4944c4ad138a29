import { jsonValue, type JsonValue } from "../client/json.ts";
import { type ModelAnswer, type ModelClient, ModelError, type ModelRequest, type ModelToolCall } from "./model.ts";
import { createToolNames, sdkCallOf, type SdkModel, type ToolNames } from "./prompt.ts";
import { modelErrorOf } from "./sdk-errors.ts";
import { estimateUsage } from "./tokens.ts";

/** How one provider of the AI SDK is asked. */
export interface SdkProviderOptions {
  /** First part of the names of its models. */
  readonly name: string;
  /** Makes the model of that name, without the provider in it. The package of the provider is loaded in here. */
  readonly load: (model: string) => Promise<SdkModel>;
  /** What must not be shown in errors; empty for none. */
  readonly secret: string;
}

/** No answer is longer, its calls' arguments included: more does not fit on record. A model that goes on is cut off. */
const maxAnswerBytes = 1_000_000;
/** Who counts more has miscounted, and the record would refuse it. */
const maxTokens = 1_000_000_000;

type Stream = Awaited<ReturnType<SdkModel["doStream"]>>["stream"];
type Part = Stream extends ReadableStream<infer P> ? P : never;
type Finish = Extract<Part, { type: "finish" }>;

/** What has come of an answer. */
interface Collected {
  text: string;
  readonly toolCalls: ModelToolCall[];
  finish: Finish | undefined;
  /** How large its text and the arguments of its calls are. */
  sizeBytes: number;
  /** Whether the provider has sent anything that belongs to an answer. */
  started: boolean;
}

/** A client of one provider, which asks once: no time-outs, no repeats, no prices. `request.model` is the bare name. */
export function createSdkProvider({ name, load, secret }: SdkProviderOptions): ModelClient {
  return {
    async generate(request, { signal, onText }) {
      const model = `${name}/${request.model}`;
      const names = createToolNames(request.tools);
      const collected: Collected = { text: "", toolCalls: [], finish: undefined, sizeBytes: 0, started: false };
      let accepted = false;
      try {
        const sdkModel = await load(request.model);
        const { stream } = await sdkModel.doStream({ ...sdkCallOf(request, names), abortSignal: signal });
        accepted = true;
        // Web streams iterate in Node; the DOM's types do not say so.
        for await (const part of stream as AsyncIterable<Part>) collect(collected, part, names, onText);
        return answerOf(collected, request, model);
      } catch (error) {
        // What was asked and came is paid for, although the provider had no time to say how much it was. A timeout is too.
        const usage = accepted || signal.aborted ? estimateUsage(request, collected) : undefined;
        throw modelErrorOf(error, { model, secret, usage, stream: accepted ? collected : undefined }, signal);
      }
    },
  };
}

/** Takes what a message can hold, and leaves sources, files and the like. */
function collect(into: Collected, part: Part, names: ToolNames, onText: ((text: string) => void) | undefined): void {
  if (part.type === "error") throw part.error;
  if (part.type === "finish") into.finish = part;
  if (part.type === "tool-call") into.sizeBytes += Buffer.byteLength(part.input);
  if (part.type === "text-delta") into.sizeBytes += Buffer.byteLength(part.delta);
  if (into.sizeBytes > maxAnswerBytes) {
    const message = `gave more than ${maxAnswerBytes} bytes`;
    throw new ModelError("MODEL_BAD_ANSWER", message, { retryable: false });
  }
  if (part.type === "tool-call") into.toolCalls.push(toolCallOf(part, names));
  if (part.type === "text-delta") into.text += part.delta;
  // Whatever comes is a sign of life.
  onText?.(part.type === "text-delta" ? part.delta : "");
  into.started ||= ["text-delta", "tool-call", "reasoning-delta", "tool-input-delta"].includes(part.type);
}

function toolCallOf(call: Extract<Part, { type: "tool-call" }>, names: ToolNames): ModelToolCall {
  const { toolCallId, toolName, input, providerMetadata } = call;
  return {
    id: toolCallId,
    name: names.fromWire(toolName).toWellFormed(),
    args: parsed(input),
    ...(providerMetadata === undefined
      ? {}
      : { providerData: JSON.parse(JSON.stringify(providerMetadata)) as NonNullable<ModelToolCall["providerData"]> }),
  };
}

function parsed(input: string): JsonValue {
  if (input.trim() === "") return {};
  try {
    const args = JSON.parse(input) as JsonValue;
    // As deep as they stand in an answer on record, which does not take everything that parses.
    jsonValue([[[args]]]);
    return args;
  } catch {
    // Whoever checks the arguments says that they are no object.
    return input.toWellFormed();
  }
}

function answerOf({ text, toolCalls, finish }: Collected, request: ModelRequest, model: string): ModelAnswer {
  if (
    finish === undefined ||
    finish.finishReason.unified === "interrupted" ||
    finish.finishReason.unified === "error"
  ) {
    throw new ModelError("MODEL_STREAM_CUT", "the answer ended before the model had finished", { retryable: true });
  }
  const { inputTokens, outputTokens } = finish.usage;
  const estimate = estimateUsage(request, { text, toolCalls });
  return {
    text: text.toWellFormed(),
    toolCalls,
    finishReason: toolCalls.length > 0 ? "tool_calls" : finishReasons[finish.finishReason.unified],
    model,
    usage: {
      inputTokens: count(inputTokens.total) ?? estimate.inputTokens,
      outputTokens: count(outputTokens.total) ?? estimate.outputTokens,
      costMicros: 0,
    },
  };
}

const finishReasons = {
  stop: "stop",
  length: "length",
  "content-filter": "content_filter",
  // Without a call there is nothing to do but to take the text.
  "tool-calls": "stop",
  other: "other",
} as const satisfies Record<
  Exclude<Finish["finishReason"]["unified"], "error" | "interrupted">,
  ModelAnswer["finishReason"]
>;

/** Providers say 0, nothing or nonsense when they do not count. */
function count(total: number | undefined): number | undefined {
  return total !== undefined && Number.isSafeInteger(total) && total > 0 && total <= maxTokens ? total : undefined;
}
