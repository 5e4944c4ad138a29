import { createServer as createHttp1Server, type IncomingMessage, type Server as Http1Server, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { SignalboxError } from "../kernel/errors.ts";
import type { EdgeLimits } from "./limits.ts";
import { keepSession, retireSession } from "./session.ts";
import { sniff } from "./sniff.ts";

/** A request of either protocol. */
export type EdgeRequest = IncomingMessage | Http2ServerRequest;
/** The answer to a request of either protocol. */
export type EdgeResponse = (ServerResponse<IncomingMessage> & { req: IncomingMessage }) | Http2ServerResponse;

/** What a listener is made of. */
export interface ListenerOptions {
  /** The address to listen on. */
  readonly address: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly limits: EdgeLimits;
  readonly onRequest: (request: EdgeRequest, response: EdgeResponse) => void;
}

/** One port that speaks HTTP/1.1 and HTTP/2 without TLS. */
export interface Listener {
  readonly port: number;
  /**
   * Takes no new connections and no new requests, and closes what is idle. Resolves once every request has been answered
   * and every connection is closed.
   */
  drain(): Promise<void>;
  /** Closes every connection, whatever happens on it. */
  destroy(): void;
}

/** Opens the port. INVALID_STATE when it is taken, PERMISSION_DENIED when this user may not open it. */
export async function openListener({ address, port, limits, onRequest }: ListenerOptions): Promise<Listener> {
  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  const answering = new Set<ServerResponse>();
  let draining = false;

  const http1 = createHttp1(limits, (request, response) => {
    answering.add(response);
    if (draining) response.shouldKeepAlive = false;
    response.once("close", () => {
      answering.delete(response);
      if (draining) request.socket.destroySoon();
    });
    onRequest(request, response);
  });
  const http2 = createHttp2(limits, onRequest);
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    keepSession(session, limits);
  });

  const net = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.pingIntervalMs }, (socket) => {
    sockets.add(socket);
    silent.add(socket);
    // Each protocol cleans up when the socket closes; without a listener a reset would end the process (CVE-2025-59465).
    socket.on("error", () => {});
    socket.once("close", () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
    sniff(socket, limits.firstBytesTimeoutMs, (protocol) => {
      silent.delete(socket);
      (protocol === "http2" ? http2 : http1).emit("connection", socket);
    });
  });
  net.maxConnections = limits.maxConnections;
  await listen(net, address, port);

  return {
    port: (net.address() as AddressInfo).port,
    async drain() {
      draining = true;
      const closed = new Promise<void>((resolve) => net.close(() => resolve()));
      for (const socket of silent) socket.destroy();
      for (const session of sessions) retireSession(session);
      for (const response of answering) response.shouldKeepAlive = false;
      http1.close();
      await closed;
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function createHttp1(
  limits: EdgeLimits,
  onRequest: (request: IncomingMessage, response: EdgeResponse & ServerResponse) => void,
): Http1Server {
  const server = createHttp1Server(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: limits.timeoutCheckIntervalMs,
      maxHeaderSize: limits.maxHeaderBytes,
    },
    (request, response) => {
      swallowErrors(request, response);
      onRequest(request, response);
    },
  );
  server.maxHeadersCount = limits.maxHeaderFields;
  // The server never listens itself, and this event is what makes it look at its timeouts and know its connections.
  server.emit("listening");
  return server;
}

function createHttp2(limits: EdgeLimits, onRequest: ListenerOptions["onRequest"]): Http2Server {
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
      swallowErrors(request, response);
      onRequest(request, response);
    },
  );
}

/** A peer that goes away in the middle ends its request through `close`; nobody needs the error as well. */
function swallowErrors(request: EdgeRequest, response: EdgeResponse): void {
  request.on("error", () => {});
  response.on("error", () => {});
}

async function listen(server: NetServer, address: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen({ host: address, port }, resolve);
  try {
    await promise;
  } catch (error) {
    throw listenError(error, address, port);
  } finally {
    server.off("error", reject);
  }
}

function listenError(error: unknown, address: string, port: number): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const place = `port ${port} on ${address}`;
  switch (code) {
    case "EADDRINUSE":
      return new SignalboxError("INVALID_STATE", `${place} is taken: stop what uses it, or set SIGNALBOX_PORT (0 for any)`, {}, error);
    case "EACCES":
      return new SignalboxError("PERMISSION_DENIED", `${place} may not be opened by this user: set SIGNALBOX_PORT above 1023`, {}, error);
    case "EADDRNOTAVAIL":
      return new SignalboxError("INVALID_REQUEST", `${address} is not an address of this machine: set SIGNALBOX_HOST`, {}, error);
    default:
      return error;
  }
}
