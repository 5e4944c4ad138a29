import {
  createContextValues,
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";
import { type Connection, connectionKey } from "./connection.ts";
import { isHangUp } from "./hang-up.ts";
import { sendError } from "./json-answer.ts";
import { openMethods } from "./open-methods.ts";
import { type EdgeRequest, type EdgeResponse, pathOf } from "./request.ts";
import { boundedBody } from "./request-body.ts";
import { createUnknownMethod } from "./unknown-method.ts";

/** Answers a request if it is a call; false when it is something else. */
export type RpcHandler = (request: EdgeRequest, response: EdgeResponse) => boolean;

/**
 * Serves the routes over gRPC, gRPC-Web and Connect; every call has what `connectionOf` says under connectionKey, and a request of
 * one message has `bodyTimeoutMs` to arrive. In place of connectNodeAdapter, because that one leaves a malformed
 * Host to end the process, a failed handler to hang, and 404, 405, 415 and 505 without a word about what to do.
 */
export function createRpcHandler(
  routes: (router: ConnectRouter) => void,
  options: ConnectRouterOptions,
  connectionOf: (request: EdgeRequest) => Connection,
  log: Logger,
  bodyTimeoutMs: number,
): RpcHandler {
  const compression = { acceptCompression: [compressionGzip, compressionBrotli] };
  const router = createConnectRouter({ ...compression, ...options });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const unknownMethod = createUnknownMethod();

  return (request, response) => {
    const path = pathOf(request);
    const handler = handlers.get(path) ?? unknownMethod(request);
    if (handler === undefined) return false;
    const call = parse(request, response, connectionOf(request));
    if (call !== undefined) {
      const bounded = withBoundedBody(handler, call, bodyTimeoutMs);
      serve(handler, bounded, response, log).catch((error: unknown) => giveUp(error, path, response, log));
    }
    return true;
  };
}

function parse(
  request: EdgeRequest,
  response: EdgeResponse,
  connection: Connection,
): UniversalServerRequest | undefined {
  try {
    const values = createContextValues().set(connectionKey, connection);
    return universalRequestFromNodeRequest(request, response, undefined, values);
  } catch {
    sendError(response, new SignalboxError("INVALID_REQUEST", "the Host (HTTP/1.1) or :authority (HTTP/2) is no host"));
    return undefined;
  }
}

/** A larger one than anybody needs who has no credential. */
const maxOpenBytes = 16 * 1024;

function withBoundedBody(
  { method }: UniversalHandler,
  request: UniversalServerRequest,
  timeoutMs: number,
): UniversalServerRequest {
  const { body } = request;
  const isOneMessage = method.methodKind === "unary" || method.methodKind === "server_streaming";
  if (!isOneMessage || typeof body !== "object" || body === null || !(Symbol.asyncIterator in body)) return request;
  const maxBytes = openMethods.has(method) ? maxOpenBytes : Infinity;
  return { ...request, body: boundedBody(body, { maxBytes, timeoutMs }) };
}

async function serve(
  handler: UniversalHandler,
  request: UniversalServerRequest,
  response: EdgeResponse,
  log: Logger,
): Promise<void> {
  const answer = await handler(request);
  const refusal = refusalOf(answer, handler, request);
  if (refusal === undefined) return universalResponseToNodeResponse(closedWith(answer, response, log), response);
  if (answer.status === 505) response.setHeader("connection", "close");
  sendError(response, refusal, answer.status);
}

/**
 * The answer, whose source is closed when the caller goes away. By itself Connect waits for ever until a caller over HTTP/2 takes
 * what was written, also when they are gone: whatever the source has open would stay open.
 */
function closedWith(answer: UniversalServerResponse, response: EdgeResponse, log: Logger): UniversalServerResponse {
  if (answer.body === undefined) return answer;
  const source = answer.body[Symbol.asyncIterator]();
  response.once("close", () => {
    source
      .return?.()
      .catch((error: unknown) => log.warn({ err: error }, "what an answer was read from was not closed"));
  });
  return { ...answer, body: { [Symbol.asyncIterator]: () => source } };
}

/** What a bare HTTP status of Connect means. */
function refusalOf(
  answer: UniversalServerResponse,
  handler: UniversalHandler,
  request: UniversalServerRequest,
): SignalboxError | undefined {
  if (answer.body !== undefined) return undefined;
  switch (answer.status) {
    case 405: {
      const allowed = handler.allowedMethods.join(" or ");
      return new SignalboxError(
        "INVALID_REQUEST",
        `${handler.requestPath} is called with ${allowed}, not ${request.method}`,
      );
    }
    case 415: {
      const type = request.header.get("content-type") ?? "";
      const hint = handler.method.methodKind === "unary" ? "application/json" : "application/connect+json";
      const message = `content-type ${JSON.stringify(type)} is not one of this method's: use ${hint}, or a gRPC client`;
      return new SignalboxError("INVALID_REQUEST", message);
    }
    case 505:
      return new SignalboxError("NOT_IMPLEMENTED", `${handler.requestPath} streams both ways, which takes HTTP/2`);
    default:
      return undefined;
  }
}

function giveUp(error: unknown, path: string, response: EdgeResponse, log: Logger): void {
  const hungUp = isHangUp(error);
  if (!hungUp) log.warn({ err: error, path }, "answer could not be delivered");
  if (hungUp || response.headersSent) response.destroy();
  else sendError(response, error);
}
