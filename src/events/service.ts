import type { ConnectRouter } from "@connectrpc/connect";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Events } from "./events.ts";
import { frameMessage, pageMessage, wantsJson } from "./wire.ts";

/** Registers EventService. `draining` ends subscriptions: their clients resume at another server. */
export function eventRoutes(router: ConnectRouter, events: Events, draining: AbortSignal): void {
  router.service(EventService, {
    listEvents: async (request, context) =>
      pageMessage(await events.list(callOf(context), request), wantsJson(context)),
    getEvent: async (request, context) => {
      const { event, body } = await events.get(callOf(context), request);
      return { event, storedBytes: body };
    },
    async *subscribe(request, context) {
      const json = wantsJson(context);
      for await (const frame of events.subscribe(callOf(context), request, draining)) yield frameMessage(frame, json);
    },
  });
}
