import type { ConnectRouter } from "@connectrpc/connect";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Engine } from "./engine.ts";
import type { Work } from "./work.ts";

/** Registers EngineService. `draining` ends waiting claims early: the worker asks another server. */
export function engineRoutes(router: ConnectRouter, engine: Engine, work: Work, draining: AbortSignal): void {
  router.service(EngineService, {
    claimRun: (request, context) => engine.claim(callOf(context), request, draining),
    heartbeat: ({ leaseToken }, context) => engine.heartbeat(callOf(context), leaseToken),
    releaseRun: (request, context) => engine.release(callOf(context), request),
    completeRun: (request, context) => engine.complete(callOf(context), request),
    failRun: (request, context) => engine.fail(callOf(context), request),
    startStep: (request, context) => work.startStep(callOf(context), request),
    completeStep: (request, context) => work.completeStep(callOf(context), request),
    failStep: (request, context) => work.failStep(callOf(context), request),
    startToolCall: (request, context) => work.startToolCall(callOf(context), request),
    succeedToolCall: (request, context) => work.succeedToolCall(callOf(context), request),
    failToolCall: (request, context) => work.failToolCall(callOf(context), request),
    reconcileToolCall: (request, context) => work.reconcileToolCall(callOf(context), request),
  });
}
