import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl, Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { Registry } from "prom-client";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { type Call, callOf } from "../../src/kernel/call.ts";
import { type Server, type ServerOptions, openServer } from "../../src/server/server.ts";

/** A run id that the contract accepts. */
export const runId = "run_00000000000000000000000001";

/** A server on a free port of 127.0.0.1, with fake services behind it. */
export interface TestServer extends Server {
  /** The calls that reached a handler. */
  readonly calls: Call[];
  /** The log, one object per line. */
  readonly logs: Record<string, unknown>[];
  readonly metrics: Registry;
  readonly draining: AbortController;
}

/** What a test changes of a TestServer. */
export interface TestServerOptions extends Partial<Omit<ServerOptions, "routes" | "metrics" | "log" | "draining">> {
  readonly runs?: Partial<ServiceImpl<typeof RunService>>;
  readonly events?: Partial<ServiceImpl<typeof EventService>>;
}

const services: DescService[] = [RunService, EventService];

/**
 * Opens a server whose CreateRun answers with a run of the caller's workspace, whose GetRun finds every run, and whose
 * Subscribe sends three frames and ends.
 */
export async function openTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { runs, events, ...rest } = options;
  const calls: Call[] = [];
  const logs: Record<string, unknown>[] = [];
  const metrics = new Registry();
  const draining = new AbortController();

  function routes(router: ConnectRouter): void {
    router.service(RunService, {
      createRun(request, context) {
        const call = callOf(context);
        calls.push(call);
        return { run: { runId, workspaceId: call.workspaceId, handler: request.handler, input: request.input } };
      },
      getRun: (request) => ({ run: { runId: request.runId } }),
      ...runs,
    });
    router.service(EventService, {
      async *subscribe(_request, context) {
        calls.push(callOf(context));
        yield { frame: { case: "ready", value: { headPosition: 2n } } };
        yield { frame: { case: "event", value: { position: 1n } } };
        yield { frame: { case: "event", value: { position: 2n } } };
      },
      ...events,
    });
  }

  const server = await openServer({
    host: "127.0.0.1",
    port: 0,
    auth: { mode: "none" },
    allowedOrigins: [],
    reflection: true,
    services,
    readiness: async () => ({ log: "ok", read_model: "ok" }),
    drainTimeoutMs: 5_000,
    maxRequestBytes: 64 * 1024,
    ...rest,
    routes,
    metrics,
    draining,
    log: pino(
      { level: "debug" },
      { write: (line: string) => void logs.push(JSON.parse(line) as Record<string, unknown>) },
    ),
  });
  return { ...server, calls, logs, metrics, draining };
}

/** All protocols over both versions of HTTP, by name. */
export const transports: Record<string, (url: string) => Transport> = {
  "Connect over HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect over HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  "Connect JSON over HTTP/1.1": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "gRPC-Web over HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web over HTTP/2": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  // gRPC is HTTP/2 only.
  "gRPC over HTTP/2": (baseUrl) => createGrpcTransport({ baseUrl }),
};

/** Posts JSON to a method, as curl does. `body` may be text that is not JSON. */
export function post(server: Server, method: string, body: unknown, headers: Record<string, string> = {}) {
  return fetch(`${server.url}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" || body instanceof Buffer ? body : JSON.stringify(body),
  });
}

/** An error as Connect writes it in JSON. */
export interface ErrorBody {
  code: string;
  message: string;
  details?: { type: string; value: string; debug?: Record<string, unknown> }[];
}

/** The error that an answer carries. */
export async function errorOf(response: Response): Promise<ErrorBody> {
  return (await response.json()) as ErrorBody;
}

/** The ErrorInfo of an error. */
export function infoOf(error: ErrorBody): Record<string, unknown> | undefined {
  return error.details?.find(({ type }) => type === "google.rpc.ErrorInfo")?.debug;
}
