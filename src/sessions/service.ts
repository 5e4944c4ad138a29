import type { ConnectRouter } from "@connectrpc/connect";
import { SessionService } from "../../gen/signalbox/v1/session_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Sessions } from "./sessions.ts";

/** Serves SessionService. */
export function sessionRoutes(router: ConnectRouter, sessions: Sessions): void {
  router.service(SessionService, {
    listSessions: (request, context) => sessions.list(callOf(context), request),
    getSession: async (request, context) => ({ session: await sessions.get(callOf(context), request) }),
    getSessionHistory: (request, context) => sessions.history(callOf(context), request),
    compactSession: (request, context) => sessions.compact(callOf(context), request),
  });
}
