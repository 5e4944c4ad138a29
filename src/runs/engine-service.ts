import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  EngineService,
  type ListWorkersRequest,
  type ListWorkersResponse,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Call, callOf } from "../kernel/call.ts";
import { innerCallOf } from "../kernel/inner-call.ts";
import { type WorkStreamDeps, workStream } from "./work-stream.ts";

/** What EngineService serves. */
export interface EngineRoutes extends WorkStreamDeps {
  readonly listWorkers: (
    call: Call,
    request: ListWorkersRequest,
  ) => Pick<ListWorkersResponse, "workers" | "nextPageToken">;
}

/** Registers EngineService. `draining` ends waiting claims early: the worker asks another server. */
export function engineRoutes(router: ConnectRouter, deps: EngineRoutes): void {
  const { engine, calls, listWorkers, draining } = deps;
  router.service(EngineService, {
    claimRun: (request, context) => engine.claim(callOf(context), request, draining),
    heartbeat: single(calls.heartbeat),
    releaseRun: single(calls.releaseRun),
    suspendRun: single(calls.suspendRun),
    completeRun: single(calls.completeRun),
    failRun: single(calls.failRun),
    startStep: single(calls.startStep),
    completeStep: single(calls.completeStep),
    failStep: single(calls.failStep),
    startToolCall: single(calls.startToolCall),
    succeedToolCall: single(calls.succeedToolCall),
    failToolCall: single(calls.failToolCall),
    reconcileToolCall: single(calls.reconcileToolCall),
    publishDeltas: single(calls.publishDeltas),
    reportWorker: single(calls.reportWorker),
    listWorkers: (request, context) => listWorkers(callOf(context), request),
    work: (requests, context) => workStream(deps, requests, { call: callOf(context), ...innerCallOf(context) }),
  });
}

function single<I, O>(serve: (call: Call, request: I) => O): (request: I, context: HandlerContext) => O {
  return (request, context) => serve(callOf(context), request);
}
