import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { listenError } from "./address.ts";
import { createHttp1, createHttp2 } from "./http-servers.ts";
import type { EdgeLimits } from "./limits.ts";
import type { RequestHandler } from "./request.ts";
import { keepSession } from "./session.ts";
import { sniff } from "./sniff.ts";

/** What a listener is made of. */
export interface ListenerOptions {
  /** The address to listen on. */
  readonly address: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly limits: EdgeLimits;
  readonly onRequest: RequestHandler;
  readonly log: Logger;
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
export async function openListener({ address, port, limits, onRequest, log }: ListenerOptions): Promise<Listener> {
  const sockets = new Set<Socket>();
  // Those that are not known to speak HTTP/2.
  const http1Sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  const answering = new Set<ServerResponse & { req: IncomingMessage }>();
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

  const net = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.pingIntervalMs },
    (socket) => {
      sockets.add(socket);
      http1Sockets.add(socket);
      // Each protocol cleans up when the socket closes; without a listener a reset would end the process (CVE-2025-59465).
      socket.on("error", () => {});
      socket.once("close", () => {
        sockets.delete(socket);
        http1Sockets.delete(socket);
      });
      sniff(socket, limits.firstBytesTimeoutMs, (protocol) => {
        if (protocol === "http2") http1Sockets.delete(socket);
        (protocol === "http2" ? http2 : http1).emit("connection", socket);
      });
    },
  );
  net.maxConnections = limits.maxConnections;
  await listen(net, address, port);
  // Out of file descriptors, for example: the connections that are open go on.
  net.on("error", (error) => log.error({ err: error }, "connection could not be accepted"));

  return {
    port: (net.address() as AddressInfo).port,
    async drain() {
      draining = true;
      const closed = new Promise<void>((resolve) => net.close(() => resolve()));
      http1.close();
      for (const session of sessions) session.close();
      for (const response of answering) response.shouldKeepAlive = false;
      const busy = new Set([...answering].map(({ req }) => req.socket));
      for (const socket of http1Sockets) if (!busy.has(socket)) socket.destroy();
      await closed;
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function listen(server: Server, address: string, port: number): Promise<void> {
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
