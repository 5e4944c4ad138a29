import type { ModelAnswer, ModelMessage, ModelToolCall } from "../../models/model.ts";
import { offlineModel } from "../../models/offline-model.ts";
import type { Handler, HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";
import { type CitedPiece, createCitations } from "./citations.ts";
import { compact, type Summarise, summariseByModel } from "./compaction.ts";
import { type AgentConfiguration, loadConfiguration } from "./configuration.ts";
import { type History, loadHistory, noHistory, openingMessages, questionOf } from "./conversation.ts";
import { createToolCaller } from "./tool-calls.ts";

/** What agents go by where they say nothing themselves. */
export interface AgentHandlerOptions {
  /** The model of agents without one, default `mock/assistant`, which answers offline. */
  readonly defaultModel?: string | undefined;
  /** Makes the summaries of long sessions, default the agent's own model. */
  readonly summarise?: Summarise | undefined;
}

/** What a run of an agent answers. */
export type AgentOutput = {
  readonly text: string;
  /** The pieces of documents that the text cites, by number; absent when it cites none. */
  readonly citations?: readonly CitedPiece[];
  /** How often the model was asked. */
  readonly turns: number;
  /** Who answered. */
  readonly model: string;
  /** True when the model stopped because the answer got too long; absent otherwise. */
  readonly truncated?: true;
};

const maxEmptyAnswers = 2;

/**
 * The handler of agents: asks the model that the Agent resource names, with its instructions, its tools and what it
 * remembers of the session, makes the calls that the model asks for, and goes on until there is an answer, an AgentOutput.
 * The input is a text, or an object with a `text`.
 */
export function createAgentHandler(options: AgentHandlerOptions = {}): Handler {
  const { defaultModel = offlineModel, summarise = summariseByModel } = options;
  return async (ctx, input) => {
    const question = questionOf(input);
    const retry = { maxAttempts: 3 };
    const configuration = await ctx.step("agent", () => loadConfiguration(ctx, defaultModel), { retry });
    const remembers = configuration.sessionHistory && ctx.currentRun.sessionId !== "";
    const history = remembers ? await ctx.step("history", () => loadHistory(ctx), { retry }) : noHistory;
    const { output, tokens } = await converse(ctx, configuration, history, question);
    if (remembers) await compact(ctx, summarise, configuration, history, tokens);
    return output;
  };
}

/** Asks the model until it answers. `tokens` is the size of the conversation as the model counted it last. */
async function converse(
  ctx: HandlerContext,
  configuration: AgentConfiguration,
  history: History,
  question: string,
): Promise<{ output: AgentOutput; tokens: number }> {
  const { model, tools, maxTurns } = configuration;
  const citations = createCitations();
  const caller = createToolCaller(ctx, configuration, citations);
  const messages = openingMessages(configuration, history, question);
  let emptyAnswers = 0;
  for (let turn = 1; turn <= maxTurns; turn++) {
    const answer = await ctx.model({ model, messages: [...messages], tools });
    const toolCalls = withOwnIds(answer.toolCalls, turn);
    if (toolCalls.length > 0) {
      messages.push({ role: "assistant", text: answer.text, toolCalls }, ...(await caller.make(toolCalls)));
      continue;
    }
    if (isAnswer(answer)) {
      const cited = citations.citedIn(answer.text);
      return { output: outputOf(answer, cited, turn), tokens: answer.usage.inputTokens };
    }
    if (++emptyAnswers >= maxEmptyAnswers) break;
    messages.push(...nudge);
  }
  throw noAnswer(emptyAnswers, maxTurns);
}

const nudge: readonly ModelMessage[] = [
  { role: "assistant", text: "…" },
  { role: "user", text: "That was no answer. Please answer with a text, or call a tool." },
];

/** True for a text. Throws MODEL_REFUSED, not retryable, when a filter of the provider took the answer away. */
function isAnswer({ text, finishReason, model }: ModelAnswer): boolean {
  if (finishReason === "content_filter") {
    throw new HandlerError("MODEL_REFUSED", `${model} did not answer: its content filter stopped it`, {
      retryable: false,
    });
  }
  return text.trim() !== "";
}

function noAnswer(emptyAnswers: number, maxTurns: number): HandlerError {
  return emptyAnswers >= maxEmptyAnswers
    ? new HandlerError("AGENT_STUCK", `the model gave ${emptyAnswers} empty answers`, { retryable: false })
    : new HandlerError("MAX_TURNS_REACHED", `no answer after ${maxTurns} turns; raise the agent's limits.max_turns`, {
        retryable: false,
      });
}

/** The calls with ids that no others of the conversation have, whatever the provider called them: results would get mixed up. */
function withOwnIds(calls: readonly ModelToolCall[], turn: number): ModelToolCall[] {
  return calls.map((call, index) => ({ ...call, id: `call_${turn}_${index + 1}` }));
}

function outputOf(
  { text, model, finishReason }: ModelAnswer,
  cited: readonly CitedPiece[],
  turns: number,
): AgentOutput {
  return {
    text,
    ...(cited.length === 0 ? {} : { citations: cited }),
    turns,
    model,
    ...(finishReason === "length" ? { truncated: true } : {}),
  };
}
