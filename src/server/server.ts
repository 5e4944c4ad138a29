import { setMaxListeners } from "node:events";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { Health } from "../../gen/health/v1/health_pb.ts";
import { SignalboxError, toConnectError } from "../kernel/errors.ts";
import { randomIds } from "../kernel/ids.ts";
import type { Downloads } from "../access/downloads.ts";
import { isLoopbackAuthority, listenAddress } from "./address.ts";
import { type AuthSettings, createAuthenticate } from "./auth.ts";
import { createCallEdge } from "./calls.ts";
import { createArtifactHandler } from "./artifact-handler.ts";
import { connectionOf } from "./connection.ts";
import { createCors } from "./cors.ts";
import { drainingError } from "./draining.ts";
import { healthRoutes } from "./health.ts";
import { createHttpHandler } from "./http.ts";
import { sendError } from "./json-answer.ts";
import { strictJson } from "./json-decoding.ts";
import { defaultLimits, type EdgeLimits, maxTimeoutMs } from "./limits.ts";
import { openListener } from "./listener.ts";
import { createCallMetrics } from "./metrics.ts";
import { createOutcomes } from "./outcomes.ts";
import { createReadiness } from "./readiness.ts";
import { reflectionRoutes } from "./reflection.ts";
import { authorityOf, type RequestHandler } from "./request.ts";
import { createRpcHandler } from "./rpc.ts";
import { createValidation } from "./validation.ts";

/** What a server is made of. */
export interface ServerOptions {
  /** Name or address to listen on; without authentication it must be a loopback one. */
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly auth: AuthSettings;
  /** Origins whose pages may call from a browser, for example `https://console.example`; empty for none. */
  readonly allowedOrigins: readonly string[];
  /** Whether to serve grpc.reflection.v1 and v1alpha. */
  readonly reflection: boolean;
  /** The services that `routes` serves, for reflection, health and validation. */
  readonly services: readonly DescService[];
  readonly routes: (router: ConnectRouter) => void;
  /** Artifacts by URL, below `/artifacts/`; unset for none. */
  readonly downloads?: Downloads;
  /** How others reach this server, without a slash at the end; unset for what the request says. */
  readonly publicUrl?: string | undefined;
  /** Asks each part: `ok`, or what is wrong with it. */
  readonly readiness: () => Promise<Record<string, string>>;
  readonly metrics: Registry;
  readonly log: Logger;
  /** Aborted with DRAINING when the server begins to drain: streams and long polls look at it and end. */
  readonly draining: AbortController;
  /** How long calls may take to end once the server drains; default 10,000. */
  readonly drainTimeoutMs?: number;
  /** The largest request message, also after decompression. */
  readonly maxRequestBytes: number;
  /** Limits other than the defaults of limits.ts. */
  readonly limits?: Partial<EdgeLimits>;
}

/** A server that listens. Disposing it drains it, within `drainTimeoutMs` and a moment; disposing twice is fine. */
export interface Server extends AsyncDisposable {
  /** For example `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
}

const defaultDrainTimeoutMs = 10_000;
// What calls get to say goodbye after their signals were aborted.
const farewellMs = 250;

/**
 * Opens the server: gRPC, gRPC-Web and Connect over HTTP/1.1 and HTTP/2 without TLS on one port, with health, reflection,
 * metrics and readiness. PERMISSION_DENIED for a public address without authentication, INVALID_STATE for a taken port.
 */
export async function openServer(options: ServerOptions): Promise<Server> {
  const { auth, draining, drainTimeoutMs = defaultDrainTimeoutMs } = options;
  const address = await listenAddress(options.host, auth);
  const shutdown = new AbortController();
  // One listener per call: many are no leak.
  setMaxListeners(0, shutdown.signal, draining.signal);
  const listener = await openListener({
    address,
    port: options.port,
    limits: { ...defaultLimits, ...options.limits },
    onRequest: createRequestHandler(options, shutdown.signal),
    log: options.log,
  });

  async function close(): Promise<void> {
    draining.abort(drainingError());
    const drained = listener.drain();
    if (!(await within(drained, drainTimeoutMs))) {
      shutdown.abort(toConnectError(drainingError()));
      await within(drained, farewellMs);
      listener.destroy();
    }
    await drained;
  }

  let closed: Promise<void> | undefined;
  return {
    url: `http://${address.includes(":") ? `[${address}]` : address}:${listener.port}`,
    port: listener.port,
    [Symbol.asyncDispose]: () => (closed ??= close()),
  };
}

function createRequestHandler(options: ServerOptions, shutdownSignal: AbortSignal): RequestHandler {
  const { auth, services, log, draining } = options;
  const { readerTimeoutMs, requestTimeoutMs } = { ...defaultLimits, ...options.limits };
  const authenticate = createAuthenticate(auth);
  const readiness = createReadiness({ parts: options.readiness, draining: draining.signal, log });
  const health = healthRoutes({ services, readiness, draining: draining.signal });
  const reflection = options.reflection ? reflectionRoutes([...services, Health]) : undefined;
  const outcomes = createOutcomes(createCallMetrics(options.metrics), log);
  const edge = createCallEdge({ authenticate, asksForCredentials: auth.mode !== "none", ids: randomIds, outcomes });
  const rpc = createRpcHandler(
    (router) => {
      health(router);
      reflection?.(router);
      options.routes(router);
    },
    {
      requestGate: edge.gate,
      interceptors: [edge.interceptor, createValidation(services)],
      jsonOptions: strictJson(),
      readMaxBytes: options.maxRequestBytes,
      maxTimeoutMs,
      shutdownSignal,
    },
    (request) => connectionOf(request, options.publicUrl),
    log,
    requestTimeoutMs,
  );
  const { downloads } = options;
  const artifacts = downloads && createArtifactHandler({ downloads, ids: randomIds, readerTimeoutMs, log });
  const http = createHttpHandler({ readiness, metrics: options.metrics, authenticate, artifacts, log });
  const cors = createCors(options.allowedOrigins);

  return (request, response) => {
    if (auth.mode === "none" && !isLoopbackAuthority(authorityOf(request) ?? "")) {
      const message = "without authentication this server answers to localhost and loopback addresses only";
      return sendError(response, new SignalboxError("PERMISSION_DENIED", message));
    }
    if (cors(request, response)) return;
    if (!rpc(request, response)) http(request, response);
  };
}

/** True when `promise` settled in time. */
async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const timer = setTimeout(() => late.resolve(false), ms);
  try {
    return await Promise.race([promise.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
