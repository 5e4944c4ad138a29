import type { OpenAICompatibleProvider } from "@ai-sdk/openai-compatible";
import type { JsonValue } from "../client/json.ts";
import type { ModelMessage, ModelRequest, ModelToolCall } from "./model.ts";

/** A model of the AI SDK, version 4 of its specification: what every provider package makes. */
export type SdkModel = ReturnType<OpenAICompatibleProvider["chatModel"]>;
/** What such a model is called with. */
export type SdkCall = Parameters<SdkModel["doStream"]>[0];
type SdkMessage = SdkCall["prompt"][number];
type SdkToolOutput = { type: "json" | "error-json"; value: JsonValue } | { type: "text" | "error-text"; value: string };

/** Names of tools as providers take them, and back. */
export interface ToolNames {
  /** The name on the wire: letters, digits, `_` and `-`, at most 64. */
  toWire(name: string): string;
  /** The name that became `wire`; `wire` itself when none did. */
  fromWire(wire: string): string;
}

/** The request as the AI SDK takes it, without the signal. */
export function sdkCallOf(request: ModelRequest, names: ToolNames): SdkCall {
  const { messages, tools = [], temperature, maxOutputTokens } = request;
  return {
    prompt: messages.map((message) => sdkMessageOf(message, names)),
    ...(tools.length === 0 ? {} : { tools: tools.map((tool) => sdkToolOf(tool, names)) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
  };
}

/** The names of a request's tools; two that would become the same are told apart by a number. */
export function createToolNames(tools: ModelRequest["tools"] = []): ToolNames {
  const wires = new Map<string, string>();
  const names = new Map<string, string>();
  for (const { name } of tools) {
    let wire = plain(name);
    for (let number = 2; names.has(wire); number++) wire = `${plain(name).slice(0, 60)}_${number}`;
    wires.set(name, wire);
    names.set(wire, name);
  }
  return {
    toWire: (name) => wires.get(name) ?? plain(name),
    fromWire: (wire) => names.get(wire) ?? wire,
  };
}

function plain(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/g, "_").slice(0, 64) || "_";
}

function sdkToolOf({ name, description, inputSchema }: NonNullable<ModelRequest["tools"]>[number], names: ToolNames) {
  return { type: "function" as const, name: names.toWire(name), description, inputSchema: { ...inputSchema } };
}

function sdkMessageOf(message: ModelMessage, names: ToolNames): SdkMessage {
  switch (message.role) {
    case "system":
      return { role: "system", content: message.text };
    case "user":
      return { role: "user", content: [{ type: "text", text: message.text }] };
    case "assistant": {
      const text = message.text === "" ? [] : [{ type: "text" as const, text: message.text }];
      const calls = (message.toolCalls ?? []).map((call) => sdkToolCallOf(call, names));
      return { role: "assistant", content: [...text, ...calls] };
    }
    case "tool": {
      const { toolCallId, name, result, isError = false } = message;
      const output = outputOf(result, isError);
      return { role: "tool", content: [{ type: "tool-result", toolCallId, toolName: names.toWire(name), output }] };
    }
  }
}

function sdkToolCallOf({ id, name, args, providerData }: ModelToolCall, names: ToolNames) {
  // Providers take objects only. What else a model gave is named by the error that answered it.
  const input = typeof args === "object" && args !== null && !Array.isArray(args) ? args : {};
  return {
    type: "tool-call" as const,
    toolCallId: id,
    toolName: names.toWire(name),
    input,
    ...(providerData === undefined ? {} : { providerOptions: structuredClone(providerData) as Record<string, never> }),
  };
}

function outputOf(result: JsonValue, isError: boolean): SdkToolOutput {
  if (typeof result === "string") return { type: isError ? "error-text" : "text", value: result };
  return { type: isError ? "error-json" : "json", value: result };
}
