import { createServer as createHttp1Server, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import type { EdgeLimits } from "./limits.ts";
import type { EdgeRequest, EdgeResponse, RequestHandler } from "./request.ts";

/** A server for HTTP/1.1 that is handed its connections: `emit("connection", socket)`. */
export function createHttp1(
  limits: EdgeLimits,
  onRequest: (request: IncomingMessage, response: ServerResponse & { req: IncomingMessage }) => void,
): Server {
  const server = createHttp1Server(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: limits.timeoutCheckIntervalMs,
      maxHeaderSize: limits.maxHeaderBytes,
    },
    (request, response) => {
      expectHangUp(request, response);
      onRequest(request, response);
    },
  );
  server.maxHeadersCount = limits.maxHeaderFields;
  // The server never listens itself, and this event is what makes it look at its timeouts and know its connections.
  server.emit("listening");
  return server;
}

/** A server for HTTP/2 with prior knowledge that is handed its connections: `emit("connection", socket)`. */
export function createHttp2(limits: EdgeLimits, onRequest: RequestHandler): Http2Server {
  return createHttp2Server(
    {
      settings: { maxConcurrentStreams: limits.maxConcurrentStreams, maxHeaderListSize: limits.maxHeaderBytes },
      maxHeaderListPairs: limits.maxHeaderFields,
      maxSessionInvalidFrames: limits.maxInvalidFrames,
      maxSessionRejectedStreams: limits.maxRejectedStreams,
      streamResetBurst: limits.streamResetBurst,
      streamResetRate: limits.streamResetRate,
    },
    (request, response) => {
      expectHangUp(request, response);
      onRequest(request, response);
    },
  );
}

/** A caller who goes away ends the call through `close`. The error that comes with it would end the process unheard. */
function expectHangUp(request: EdgeRequest, response: EdgeResponse): void {
  request.on("error", () => {});
  response.on("error", () => {});
}
