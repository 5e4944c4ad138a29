import { create, type DescMessage, type Message, type MessageShape, toJsonString } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { CreateRunResponseSchema, ForkRunResponseSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { type Run, type RunMessage, RunMessageSchema, RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { createSignalboxClient, reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { openNodeTransport } from "../../src/client/node-transport.ts";
import { type AnswerFacts, createRecorder, digestOf, jsonLines, type Recorder } from "./history.ts";

/** A client whose every unary call is written to the history file. `caller` starts the ids of its operations. */
export function openRecordedClient(baseUrl: string, caller: string, historyFile: string): SignalboxClient {
  const opened = openNodeTransport({ baseUrl });
  const recorder = createRecorder({ caller, write: jsonLines(historyFile), reasonOf });
  const client = createSignalboxClient({ transport: recordedTransport(opened.transport, recorder) });
  const close = () => {
    client.close();
    opened.close();
  };
  return { ...client, close, [Symbol.dispose]: close };
}

/** The transport with every unary call on record, under a correlation id that is the operation's. */
function recordedTransport(transport: Transport, recorder: Recorder): Transport {
  return {
    stream: (...call) => transport.stream(...call),
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const request = create(method.input, input);
      const invocation = { op: method.name, args: argsOf(method.input, request) };
      const call = (id: string) => {
        const headers = new Headers(header as Headers | undefined);
        headers.set("x-correlation-id", id);
        return transport.unary(method, signal, timeoutMs, headers, request, contextValues);
      };
      return recorder.record(invocation, call, ({ message }) => factsOf(message));
    },
  };
}

/** The fields of a request that tell it from others. */
export function argsOf<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): Record<string, string> {
  const args: Record<string, string> = {};
  const text = (name: string, field: string) => {
    const value = (request as Record<string, unknown>)[field];
    if (typeof value === "string" && value !== "") args[name] = value;
  };
  text("request_id", "requestId");
  text("run_id", "runId");
  text("step_id", "stepId");
  text("key", "key");
  if ("leaseToken" in request) args["lease"] = digestOf(String(request.leaseToken));
  // Only a call that may be repeated has to be told from others with the same name.
  if ("requestId" in request) args["body"] = digestOf(toJsonString(schema, request));
  return args;
}

interface Answer extends Message {
  readonly run?: Run;
  readonly step?: { readonly runId: string };
  readonly toolCall?: { readonly runId: string };
  readonly message?: RunMessage;
  readonly position?: bigint;
}

/** What an answer says about a run. */
export function factsOf(message: Message): AnswerFacts {
  const { run, step, toolCall, message: said, position = run?.position } = message as Answer;
  const runId = run?.runId ?? step?.runId ?? toolCall?.runId;
  const created = creating.has(message.$typeName) && run !== undefined;
  return {
    ...(runId === undefined ? {} : { run_id: runId }),
    ...(runId === undefined || position === undefined ? {} : { position: String(position) }),
    ...(created ? { answer: digestOf(toJsonString(RunSchema, asCreated(run))) } : {}),
    ...(said === undefined ? {} : { answer: digestOf(toJsonString(RunMessageSchema, said)) }),
  };
}

/** The answers that a repeat gets again. */
const creating: ReadonlySet<string> = new Set([CreateRunResponseSchema.typeName, ForkRunResponseSchema.typeName]);

/** What never changes about a run. */
function asCreated(run: Run): Run {
  const { runId, workspaceId, roomId, handler, queue, input, labels, retryPolicy, createTime, createBy } = run;
  return create(RunSchema, {
    runId,
    workspaceId,
    roomId,
    handler,
    queue,
    input,
    labels,
    retryPolicy,
    createTime,
    createBy,
  });
}
