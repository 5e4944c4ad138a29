import type { ConnectRouter } from "@connectrpc/connect";
import { EvalService } from "../../gen/signalbox/v1/eval_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Evaluations } from "./evaluations.ts";
import type { Suites } from "./suites.ts";

/** What EvalService is made of. */
export interface EvalParts {
  readonly suites: Suites;
  readonly evaluations: Evaluations;
}

/** Serves EvalService. */
export function evalRoutes(router: ConnectRouter, { suites, evaluations }: EvalParts): void {
  router.service(EvalService, {
    putSuite: (request, context) => suites.put(callOf(context), request),
    getSuite: async (request, context) => ({ suite: await suites.get(callOf(context), request) }),
    listSuites: (request, context) => suites.list(callOf(context), request),
    listSuiteVersions: (request, context) => suites.listVersions(callOf(context), request),
    archiveSuite: (request, context) => suites.archive(callOf(context), request),
    evaluate: (request, context) => evaluations.evaluate(callOf(context), request),
    getEvaluation: async ({ evaluationId }, context) => ({
      evaluation: await evaluations.get(callOf(context), evaluationId),
    }),
    listEvaluations: (request, context) => evaluations.list(callOf(context), request),
  });
}
