import type { JsonValue } from "../client/json.ts";
import { createReplyingModel, type MockReply, sinceUser, userText } from "./mock-model.ts";
import { type ModelClient, ModelError, type ModelMessage, type ModelRequest, type ModelTool } from "./model.ts";

/** The name of the model that answers without a network. */
export const offlineModel = "mock/assistant";

/** About as fast as a model talks that is not slow. */
const wordMs = 4;

/**
 * The model `assistant`, which knows nothing but shows what agents do: it calls the tools that obviously fit, answers from
 * their results, and says that it is no real model.
 */
export function createOfflineModel(): ModelClient {
  return createReplyingModel(offlineReply, { wordMs });
}

function offlineReply(request: ModelRequest): MockReply {
  const { messages, model } = request;
  if (model !== "assistant") {
    throw new ModelError("MODEL_REFUSED", `there is no model mock/${model}; there is ${offlineModel}`, {
      retryable: false,
    });
  }
  const said = userText(messages);
  const results = sinceUser(messages).filter((message) => message.role === "tool");
  const calls = results.length > 0 ? [] : callsFor(said, messages, request.tools ?? []);
  if (calls.length > 0) return { toolCalls: calls };
  return { text: results.length > 0 ? fromResults(said, results) : plainAnswer(said, messages) };
}

function plainAnswer(said: string, messages: readonly ModelMessage[]): string {
  if (systemText(messages).startsWith("Summarise")) return `In short: ${clip(said, 600)}`;
  const earlier = messages.filter(({ role }) => role === "user").at(-2);
  const before = earlier?.role === "user" ? ` Before that you said: “${clip(earlier.text, 200)}”.` : "";
  return (
    `This is the offline mock model of Signalbox: no real model was asked. You said: “${clip(said, 400)}”.${before} ` +
    "Set OPENAI_API_KEY, ANTHROPIC_API_KEY or GOOGLE_GENERATIVE_AI_API_KEY, or SIGNALBOX_MODEL, for a real answer."
  );
}

type Call = NonNullable<MockReply["toolCalls"]>[number];
type ToolMessage = Extract<ModelMessage, { role: "tool" }>;

/** The calls that obviously help, one per tool. */
function callsFor(said: string, messages: readonly ModelMessage[], tools: readonly ModelTool[]): Call[] {
  const has = (name: string) => tools.find((tool) => tool.name === name);
  const delegate = has("delegate");
  if (delegate !== undefined) return delegations(said, delegate);
  const expression = expressionIn(said);
  const calls: Call[] = [];
  if (expression !== undefined && has("calculator")) calls.push({ name: "calculator", args: { expression } });
  if (/\b(time|clock|date|today)\b/i.test(said) && has("time.now")) calls.push({ name: "time.now" });
  if (calls.length === 0 && /\p{L}{3}/u.test(said) && has("vector.search")) {
    calls.push({ name: "vector.search", args: { query: clip(said, 1_000), ...collectionIn(messages) } });
  }
  return calls;
}

/** The collection that the instructions name, as in "the collection handbook". */
function collectionIn(messages: readonly ModelMessage[]): { collection?: string } {
  const [, collection] = /\bcollection ([\w-]+)/.exec(systemText(messages)) ?? [];
  return collection === undefined ? {} : { collection };
}

function systemText(messages: readonly ModelMessage[]): string {
  const system = messages.find(({ role }) => role === "system");
  return system?.role === "system" ? system.text : "";
}

/** Asks the agents that can add something; the first two when none stands out. */
function delegations(said: string, { inputSchema }: ModelTool): Call[] {
  const agents = agentsOf(inputSchema);
  const wanted = [/_rag$/, expressionIn(said) === undefined ? /_basic$/ : /_tools$/];
  const fitting = wanted.flatMap((pattern) => agents.find((agent) => pattern.test(agent)) ?? []);
  const chosen = fitting.length > 0 ? fitting : agents.slice(0, 2);
  return chosen.map((agent) => ({ name: "delegate", args: { agent, task: said } }));
}

function agentsOf(schema: ModelTool["inputSchema"]): string[] {
  const { properties } = schema as { properties?: { agent?: { enum?: unknown } } };
  const names = properties?.agent?.enum;
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
}

/** The longest piece of arithmetic in the beginning of a text: looking for it takes time that grows with the square of the length. */
function expressionIn(said: string): string | undefined {
  const pieces = said.slice(0, 2_000).match(/[-+]?[\d(][\d\s.()+\-*/^%]*[\d)]/g) ?? [];
  const sums = pieces.filter(
    (piece) => /\d\s*[-+*/^%]\s*[-+(]*\d|\)\s*[-+*/^%]/.test(piece) && !/\d{4}-\d{2}-\d{2}/.test(piece),
  );
  return sums.toSorted((a, b) => b.length - a.length)[0]?.trim();
}

function fromResults(said: string, results: readonly ToolMessage[]): string {
  const parts = results.map((result) => resultText(said, result));
  return `This is the offline mock model of Signalbox, working from what its tools found. ${parts.join(" ")}`;
}

function resultText(said: string, { name, result, isError = false }: ToolMessage): string {
  if (isError) return `The tool ${name} failed: ${clip(shown(result), 300)}.`;
  if (name === "calculator") return `The calculator says ${clip(shown(field(result, "result") ?? result), 200)}.`;
  if (name === "time.now") return `It is ${clip(shown(field(result, "local") ?? result), 200)}.`;
  if (name === "delegate")
    return `${shown(field(result, "agent") ?? "An agent")} says: ${clip(shown(field(result, "answer") ?? result), 800)}`;
  const citations = citationsIn(result);
  if (citations !== undefined) return fromCitations(said, citations);
  return `${name} says ${clip(shown(result), 400)}.`;
}

interface NumberedPiece {
  readonly number: number;
  readonly text: string;
}

function citationsIn(result: JsonValue): NumberedPiece[] | undefined {
  const citations = field(result, "citations");
  if (!Array.isArray(citations)) return undefined;
  return citations.flatMap((citation) => {
    const [number, text] = [field(citation, "number"), field(citation, "text")];
    return typeof number === "number" && typeof text === "string" ? [{ number, text }] : [];
  });
}

/** The sentences nearest to the question, each with the number of the piece that it comes from. */
function fromCitations(said: string, pieces: readonly NumberedPiece[]): string {
  if (pieces.length === 0) return "The documents say nothing about it.";
  const asked = wordsOf(said);
  const sentences = pieces.slice(0, 3).map(({ number, text }) => {
    const found = text.replace(/\s+/g, " ").match(/[^.!?]+[.!?]?/g) ?? [text];
    const best = found.toSorted((a, b) => common(wordsOf(b), asked) - common(wordsOf(a), asked))[0] ?? text;
    return `${clip(best.trim(), 300)} [${number}]`;
  });
  return `The documents say: ${sentences.join(" ")}`;
}

function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/\p{L}{3,}/gu));
}

function common(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  return a.intersection(b).size;
}

function field(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined;
}

function shown(value: JsonValue): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
