import type { ConnectRouter } from "@connectrpc/connect";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Runs } from "./runs.ts";

/** Registers RunService. `draining` ends long polls early: the client asks another server. */
export function runRoutes(router: ConnectRouter, runs: Runs, draining: AbortSignal): void {
  router.service(RunService, {
    createRun: (request, context) => runs.create(callOf(context), request),
    getRun: async ({ runId }, context) => ({ run: await runs.get(callOf(context), runId) }),
    waitRun: async (request, context) => ({ run: await runs.wait(callOf(context), request, draining) }),
    cancelRun: (request, context) => runs.cancel(callOf(context), request),
    pauseRun: (request, context) => runs.pause(callOf(context), request),
    resumeRun: (request, context) => runs.resume(callOf(context), request),
    retryRun: (request, context) => runs.retry(callOf(context), request),
    forkRun: (request, context) => runs.fork(callOf(context), request),
    sendMessage: (request, context) => runs.sendMessage(callOf(context), request),
    listRuns: async (request, context) => {
      const { items, nextPageToken } = await runs.list(callOf(context), request);
      return { runs: items, nextPageToken };
    },
    listSteps: async (request, context) => {
      const { items, nextPageToken } = await runs.listSteps(callOf(context), request);
      return { steps: items, nextPageToken };
    },
    listToolCalls: async (request, context) => {
      const { items, nextPageToken } = await runs.listToolCalls(callOf(context), request);
      return { toolCalls: items, nextPageToken };
    },
  });
}
