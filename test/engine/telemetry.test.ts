import { create } from "@bufbuild/protobuf";
import {
  type Attributes,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { createTelemetry } from "../../src/engine/telemetry.ts";
import { type ModelAnswer, ModelError } from "../../src/models/model.ts";

interface SeenSpan {
  readonly name: string;
  readonly kind: SpanKind | undefined;
  readonly attributes: Attributes;
  error?: string;
  ended?: true;
}

/** Keeps spans in memory: as much of a tracer as our own code uses. */
function keepingTracer(spans: SeenSpan[]): Tracer {
  function startSpan(name: string, { kind, attributes = {} }: SpanOptions = {}): Span {
    const seen: SeenSpan = { name, kind, attributes: { ...attributes } };
    spans.push(seen);
    const span: Partial<Span> = {
      setAttribute: (key, value) => span.setAttributes?.({ [key]: value }) as Span,
      setAttributes: (more) => {
        Object.assign(seen.attributes, more);
        return span as Span;
      },
      setStatus: ({ code, message = "" }) => {
        if (code === SpanStatusCode.ERROR) seen.error = message;
        return span as Span;
      },
      end: () => void (seen.ended = true),
    };
    return span as Span;
  }
  const startActiveSpan = (name: string, options: SpanOptions, fn: (span: Span) => unknown) =>
    fn(startSpan(name, options));
  return { startSpan, startActiveSpan } as Tracer;
}

let spans: SeenSpan[] = [];
beforeEach(() => {
  spans = [];
  trace.setGlobalTracerProvider({ getTracer: () => keepingTracer(spans) });
});
afterEach(() => trace.disable());

const run = create(RunSchema, { runId: "run_1", handler: "agent", agentId: "agt_1", sessionId: "sess_1", attempt: 2 });
const request = {
  model: "openai/gpt,mock/assistant",
  messages: [{ role: "user", text: "secret" } as const],
  temperature: 0,
};
const answer: ModelAnswer = {
  text: "private",
  toolCalls: [],
  finishReason: "stop",
  model: "mock/assistant",
  usage: { inputTokens: 3, outputTokens: 2, costMicros: 0 },
};

test("a question to a model is a chat span of a client", async () => {
  expect(await createTelemetry().chat(run, request, async () => answer)).toBe(answer);
  expect(spans).toEqual([
    {
      name: "chat openai/gpt,mock/assistant",
      kind: SpanKind.CLIENT,
      ended: true,
      attributes: {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "sess_1",
        "gen_ai.provider.name": "mock",
        "gen_ai.request.model": "openai/gpt,mock/assistant",
        "gen_ai.request.temperature": 0,
        "gen_ai.response.model": "mock/assistant",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "signalbox.run.id": "run_1",
      },
    },
  ]);
});

test("an attempt is an invoke_agent span, and a tool call an execute_tool span", async () => {
  const telemetry = createTelemetry();
  const call = { tool: "calculator", toolCallId: "tc_1", args: { expression: "1+1" } };
  await telemetry.invokeAgent(run, () => telemetry.executeTool(run, call, async () => "2"));
  expect(spans).toMatchObject([
    {
      name: "invoke_agent agent",
      kind: SpanKind.INTERNAL,
      attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": "agt_1", "signalbox.run.attempt": 2 },
    },
    {
      name: "execute_tool calculator",
      attributes: {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "calculator",
        "gen_ai.tool.call.id": "tc_1",
      },
    },
  ]);
});

test("what was said is on no span unless that is asked for", async () => {
  const call = { tool: "mail", toolCallId: "tc_1", args: { to: "secret" } };
  for (const captureContent of [false, true]) {
    const telemetry = createTelemetry({ captureContent });
    await telemetry.chat(run, request, async () => answer);
    await telemetry.executeTool(run, call, async () => "private");
  }
  const said = spans.map((span) => /secret|private/.test(JSON.stringify(span)));
  expect(said).toEqual([false, false, true, true]);
  expect(spans[3]?.attributes).toMatchObject({
    "gen_ai.tool.call.arguments": `{"to":"secret"}`,
    "gen_ai.tool.call.result": `"private"`,
  });
});

test("what fails is an error with its code, and is thrown on", async () => {
  const failure = new ModelError("MODEL_TIMEOUT", "too slow", { retryable: true });
  await expect(createTelemetry().chat(run, request, () => Promise.reject(failure))).rejects.toBe(failure);
  expect(spans).toMatchObject([{ error: "too slow", ended: true, attributes: { "error.type": "MODEL_TIMEOUT" } }]);
});

test("without a tracer provider everything works the same", async () => {
  trace.disable();
  expect(await createTelemetry().chat(run, request, async () => answer)).toBe(answer);
});
