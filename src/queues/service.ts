import type { ConnectRouter } from "@connectrpc/connect";
import { QueueService } from "../../gen/signalbox/v1/queue_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Queues } from "./queues.ts";

/** Serves QueueService. */
export function queueRoutes(router: ConnectRouter, queues: Queues): void {
  router.service(QueueService, {
    putQueue: (request, context) => queues.put(callOf(context), request),
    getQueue: (request, context) => queues.get(callOf(context), request),
    listQueues: (request, context) => queues.list(callOf(context), request),
  });
}
