import { createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { Health } from "../../gen/health/v1/health_pb.ts";
import { SignalboxError, toConnectError } from "../kernel/errors.ts";
import type { EdgeRequest } from "./request.ts";

/** The handler for a call that no service answers; undefined when the request is no call at all. */
export type UnknownMethod = (request: EdgeRequest) => UniversalHandler | undefined;

/**
 * Answers calls of unknown services and methods with NOT_IMPLEMENTED in the caller's protocol; a bare 404 would be a riddle
 * to a gRPC client. The handlers are those of two methods, one unary and one streaming, behind a gate that refuses all.
 */
export function createUnknownMethod(): UnknownMethod {
  const router = createConnectRouter({
    requestGate({ url }) {
      const message = `${new URL(url).pathname} is not a method of this server: its reflection service lists what is`;
      throw toConnectError(new SignalboxError("NOT_IMPLEMENTED", message));
    },
  });
  router.rpc(Health.method.check, () => ({})).rpc(Health.method.watch, async function* () {});
  return ({ method, headers }) => {
    const contentType = headers["content-type"];
    if (method !== "POST" || contentType === undefined) return undefined;
    return router.handlers.find((handler) => handler.supportedContentType(contentType));
  };
}
