import type { ModelMessage, ModelRequest, ModelToolCall, ModelUsage } from "./model.ts";

// The rule of thumb of every provider for English text; good enough where nobody counts.
const charactersPerToken = 4;

/** About how many tokens a text has. */
function estimateTokens(text: string): number {
  return Math.ceil(text.length / charactersPerToken);
}

/** About what a request and as much of its answer as came consume; for providers that do not say, and the mock. */
export function estimateUsage(
  request: ModelRequest,
  answer: { readonly text: string; readonly toolCalls: readonly ModelToolCall[] },
): ModelUsage {
  const tools =
    request.tools === undefined || request.tools.length === 0 ? 0 : estimateTokens(JSON.stringify(request.tools));
  const inputTokens = request.messages.reduce((sum, message) => sum + messageTokens(message), tools);
  return { inputTokens, outputTokens: estimateTokens(answer.text) + callTokens(answer.toolCalls), costMicros: 0 };
}

function messageTokens(message: ModelMessage): number {
  if (message.role === "tool") return estimateTokens(JSON.stringify(message.result));
  return estimateTokens(message.text) + (message.role === "assistant" ? callTokens(message.toolCalls ?? []) : 0);
}

function callTokens(calls: readonly ModelToolCall[]): number {
  return calls.reduce((sum, { name, args }) => sum + estimateTokens(name) + estimateTokens(JSON.stringify(args)), 0);
}
