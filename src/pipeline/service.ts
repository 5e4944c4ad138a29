import type { ConnectRouter } from "@connectrpc/connect";
import { PipelineService } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Pipeline } from "./pipeline.ts";

/** Serves PipelineService. */
export function pipelineRoutes(router: ConnectRouter, pipeline: Pipeline): void {
  router.service(PipelineService, {
    getSnapshot: (request, context) => pipeline.snapshot(callOf(context), request),
  });
}
