import { type Attributes, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { JsonValue } from "../client/json.ts";
import type { ModelAnswer, ModelRequest } from "../models/model.ts";

/** Spans of OpenTelemetry's GenAI conventions. Without a tracer provider of the program's own, nothing is recorded. */
export interface Telemetry {
  /** An attempt of a run: `invoke_agent`. */
  invokeAgent<T>(run: Run, fn: () => Promise<T>): Promise<T>;
  /** A question to a model: `chat`. */
  chat(run: Run, request: ModelRequest, fn: () => Promise<ModelAnswer>): Promise<ModelAnswer>;
  /** A call of a tool: `execute_tool`. */
  executeTool<T>(run: Run, call: TracedToolCall, fn: () => Promise<T>): Promise<T>;
}

/** What a span says of a tool call. */
export interface TracedToolCall {
  readonly tool: string;
  readonly toolCallId: string;
  /** What the tool is called with; only on the span when content is captured. */
  readonly args?: JsonValue | undefined;
}

/** What spans say. */
export interface TelemetryOptions {
  /** Puts what was said to models and tools, and by them, on the spans: it may be private. Default false. */
  readonly captureContent?: boolean | undefined;
}

const scope = "signalbox.engine";

/** Creates the spans of a worker. */
export function createTelemetry({ captureContent = false }: TelemetryOptions = {}): Telemetry {
  const content = (attributes: () => Attributes): Attributes => (captureContent ? attributes() : {});
  return {
    invokeAgent: (run, fn) => traced(nameOf("invoke_agent", run.handler), agentAttributes(run), fn),
    chat: (run, request, fn) =>
      traced(
        nameOf("chat", request.model),
        { ...chatAttributes(run, request), ...content(() => ({ "gen_ai.input.messages": text(request.messages) })) },
        async (span) => {
          const answer = await fn();
          span.setAttributes(answerAttributes(answer));
          span.setAttributes(content(() => ({ "gen_ai.output.messages": text(outputOf(answer)) })));
          return answer;
        },
      ),
    executeTool: (run, call, fn) =>
      traced(
        nameOf("execute_tool", call.tool),
        { ...toolAttributes(run, call), ...content(() => ({ "gen_ai.tool.call.arguments": text(call.args) })) },
        async (span) => {
          const result = await fn();
          span.setAttributes(content(() => ({ "gen_ai.tool.call.result": text(result) })));
          return result;
        },
      ),
  };
}

/**
 * Runs `fn` in a span, a child of the active one; a rejection ends it as an error with `error.type`. The span of a `chat`
 * is a client's, every other is internal. Other libraries of the process see it as the active span.
 */
function traced<T>(name: string, attributes: Attributes, fn: (span: Span) => Promise<T>): Promise<T> {
  const kind = attributes["gen_ai.operation.name"] === "chat" ? SpanKind.CLIENT : SpanKind.INTERNAL;
  return trace.getTracer(scope).startActiveSpan(name, { kind, attributes }, async (span) => {
    try {
      return await fn(span);
    } catch (error) {
      span.setAttribute("error.type", errorType(error));
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

function agentAttributes(run: Run): Attributes {
  return {
    ...common("invoke_agent", run),
    "gen_ai.agent.name": run.handler,
    ...(run.agentId === "" ? {} : { "gen_ai.agent.id": run.agentId }),
    "signalbox.run.attempt": run.attempt,
  };
}

function chatAttributes(run: Run, { model, temperature, maxOutputTokens }: ModelRequest): Attributes {
  return {
    ...common("chat", run),
    "gen_ai.provider.name": model.split("/", 1)[0] ?? model,
    "gen_ai.request.model": model,
    ...(temperature === undefined ? {} : { "gen_ai.request.temperature": temperature }),
    ...(maxOutputTokens === undefined ? {} : { "gen_ai.request.max_tokens": maxOutputTokens }),
  };
}

function answerAttributes({ model, finishReason, usage }: ModelAnswer): Attributes {
  return {
    "gen_ai.provider.name": model.split("/", 1)[0] ?? model,
    "gen_ai.response.model": model,
    "gen_ai.response.finish_reasons": [finishReason],
    "gen_ai.usage.input_tokens": usage.inputTokens,
    "gen_ai.usage.output_tokens": usage.outputTokens,
  };
}

function toolAttributes(run: Run, { tool, toolCallId }: TracedToolCall): Attributes {
  return {
    ...common("execute_tool", run),
    "gen_ai.tool.name": tool,
    "gen_ai.tool.type": "function",
    "gen_ai.tool.call.id": toolCallId,
  };
}

function common(operation: string, run: Run): Attributes {
  return {
    "gen_ai.operation.name": operation,
    "signalbox.run.id": run.runId,
    ...(run.sessionId === "" ? {} : { "gen_ai.conversation.id": run.sessionId }),
  };
}

function outputOf({ text: said, toolCalls }: ModelAnswer): object {
  return { role: "assistant", text: said, toolCalls };
}

function nameOf(operation: string, what: string): string {
  return what === "" ? operation : `${operation} ${what}`;
}

function text(value: unknown): string {
  return JSON.stringify(value) ?? "";
}

/** The code of an error that has one, for example MODEL_TIMEOUT, else its class. */
function errorType(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
