import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { EngineService } from "../../../gen/signalbox/v1/engine_service_pb.ts";
import { PrincipalType, PrincipalSchema } from "../../../gen/signalbox/v1/common_pb.ts";
import { RunService } from "../../../gen/signalbox/v1/run_service_pb.ts";
import type { Call } from "../../../src/kernel/call.ts";
import { SignalboxError } from "../../../src/kernel/errors.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import { argsOf, factsOf } from "../../support/recorded-client.ts";
import type { Recorder } from "../../support/history.ts";
import type { SimulatedServer } from "./server.ts";
import type { Stage } from "./stage.ts";

const { createRun, cancelRun, getRun, pauseRun, resumeRun, sendMessage } = RunService.method;
const engine = EngineService.method;

/** How a server answers each method. */
const methods = {
  createRun: bind(createRun, ({ runs }, call, request) => runs.create(call, request)),
  cancelRun: bind(cancelRun, ({ runs }, call, request) => runs.cancel(call, request)),
  pauseRun: bind(pauseRun, ({ runs }, call, request) => runs.pause(call, request)),
  resumeRun: bind(resumeRun, ({ runs }, call, request) => runs.resume(call, request)),
  sendMessage: bind(sendMessage, ({ runs }, call, request) => runs.sendMessage(call, request)),
  getRun: bind(getRun, async ({ runs }, call, { runId }) => ({ run: await runs.get(call, runId) })),
  claimRun: bind(engine.claimRun, (server, call, request) => server.engine.claim(call, request, never)),
  heartbeat: bind(engine.heartbeat, (server, call, { leaseToken }) => server.engine.heartbeat(call, leaseToken)),
  releaseRun: bind(engine.releaseRun, (server, call, request) => server.engine.release(call, request)),
  suspendRun: bind(engine.suspendRun, (server, call, request) => server.engine.suspend(call, request)),
  completeRun: bind(engine.completeRun, (server, call, request) => server.engine.complete(call, request)),
  failRun: bind(engine.failRun, (server, call, request) => server.engine.fail(call, request)),
  startStep: bind(engine.startStep, ({ work }, call, request) => work.startStep(call, request)),
  completeStep: bind(engine.completeStep, ({ work }, call, request) => work.completeStep(call, request)),
  failStep: bind(engine.failStep, ({ work }, call, request) => work.failStep(call, request)),
  startToolCall: bind(engine.startToolCall, ({ work }, call, request) => work.startToolCall(call, request)),
  succeedToolCall: bind(engine.succeedToolCall, ({ work }, call, request) => work.succeedToolCall(call, request)),
  failToolCall: bind(engine.failToolCall, ({ work }, call, request) => work.failToolCall(call, request)),
  reconcileToolCall: bind(engine.reconcileToolCall, ({ work }, call, request) => work.reconcileToolCall(call, request)),
};

/** The methods of Signalbox as one caller calls them: on some server, on record. */
export type Methods = { [Name in keyof typeof methods]: ReturnType<(typeof methods)[Name]> };

/** The methods for a caller. */
export function methodsFor(stage: Stage, caller: string): Methods {
  const recorder = stage.recorder(caller);
  return Object.fromEntries(
    Object.entries(methods).map(([name, method]) => [name, method(stage, recorder)]),
  ) as unknown as Methods;
}

const never = new AbortController().signal;
const principal = create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "simulated" });

function bind<I extends DescMessage, O extends DescMessage>(
  { name, input, output }: DescMethodUnary<I, O>,
  serve: (server: SimulatedServer, call: Call, request: MessageShape<I>) => Promise<MessageInitShape<O>>,
) {
  return (stage: Stage, recorder: Recorder) =>
    (init: MessageInitShape<I>): Promise<MessageShape<O>> => {
      const request = create(input, init);
      const ask = async (correlationId: string) => {
        const server = stage.server();
        const call: Call = { workspaceId: "ws_sim", principal, correlationId, traceparent: "", signal: never };
        return create(output, await server.answer(serve(server, call, request)));
      };
      return recorder.record({ op: name, args: argsOf(input, request) }, ask, factsOf);
    };
}

/** The reason of a server's error; undefined when the answer did not come. */
export function reasonOf(error: unknown): string | undefined {
  if (error instanceof SignalboxError) return error.reason;
  if (error instanceof Error && error.message === "connection lost") return undefined;
  // Nothing else may come out of a server.
  return `INTERNAL: ${String(error)}`;
}

/** Makes the call, again while nobody knows what became of it. Undefined after too many tries. */
export async function insist<T>(stage: Stage, call: () => Promise<T>, tries: number): Promise<T | undefined> {
  for (let attempt = 1; attempt <= tries; attempt++) {
    try {
      return await call();
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== undefined && reason !== "STORE_UNAVAILABLE" && reason !== "CONTENTION") throw error;
    }
    await sleep(stage.random.below(40));
  }
  return undefined;
}
