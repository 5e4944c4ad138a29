import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";

/** How to reach a server from Node. */
export interface NodeTransportOptions {
  /** Where the server listens, for example `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  /** The protocol on the wire, default `connect`. */
  readonly protocol?: "connect" | "grpc" | "grpc-web" | undefined;
  /** The HTTP version, default `2`: over `http:` without TLS (h2c), all calls on one connection. gRPC needs `2`. */
  readonly httpVersion?: "1.1" | "2" | undefined;
}

/** A transport and the connections behind it. */
export interface NodeTransport {
  readonly transport: Transport;
  /** Closes the connections; calls that are under way fail. Doing it twice is fine. */
  close(): void;
}

// Connect's default is no limit at all. A claim with its recorded steps and tool calls stays far below.
const readMaxBytes = 64 * 1024 * 1024;
// What the server reads of a request. It ends the stream of a much larger one without saying why.
const writeMaxBytes = 4 * 1024 * 1024;

// Connect pings while calls are open: a peer that went away without a word is noticed within 15 s.
const pings = { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 };

/**
 * Opens a transport; it connects with the first call, and again by itself. Throws a TypeError for a baseUrl that is no
 * http(s) URL, and for gRPC over HTTP/1.1.
 */
export function openNodeTransport(options: NodeTransportOptions): NodeTransport {
  const { protocol = "connect", httpVersion = "2" } = options;
  const baseUrl = checkedUrl(options.baseUrl);
  if (protocol === "grpc" && httpVersion === "1.1") {
    throw new TypeError('gRPC needs HTTP/2; leave httpVersion out, or use the protocol "grpc-web" or "connect"');
  }
  const create = { connect: createConnectTransport, grpc: createGrpcTransport, "grpc-web": createGrpcWebTransport }[
    protocol
  ];
  if (httpVersion === "2") {
    const sessionManager = new Http2SessionManager(baseUrl, pings);
    const transport = create({ baseUrl, httpVersion, sessionManager, readMaxBytes, writeMaxBytes });
    return { transport, close: () => sessionManager.abort() };
  }
  const agent = baseUrl.startsWith("https:") ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const transport = create({ baseUrl, httpVersion, nodeOptions: { agent }, readMaxBytes, writeMaxBytes });
  return { transport, close: () => agent.destroy() };
}

function checkedUrl(baseUrl: string): string {
  const url = URL.parse(baseUrl);
  if (url !== null && (url.protocol === "http:" || url.protocol === "https:")) return url.href;
  throw new TypeError(`baseUrl ${JSON.stringify(baseUrl)} is no URL of a server; give one like http://127.0.0.1:8080`);
}
