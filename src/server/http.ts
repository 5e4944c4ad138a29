import type { Registry } from "prom-client";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";
import type { Authenticate } from "./auth.ts";
import { send, sendError, sendJson } from "./json-answer.ts";
import { authorityOf, type EdgeRequest, type EdgeResponse, pathOf, type RequestHandler } from "./request.ts";
import type { CheckReadiness } from "./readiness.ts";

/** What the plain HTTP paths are made of. */
export interface HttpOptions {
  readonly readiness: CheckReadiness;
  readonly metrics: Registry;
  readonly authenticate: Authenticate;
  /** Answers what is below `/artifacts/`; undefined for nobody. */
  readonly artifacts: RequestHandler | undefined;
  readonly log: Logger;
}

type Answer = (request: EdgeRequest, response: EdgeResponse) => void | Promise<void>;

const welcome = `Signalbox: the control room for agent runs.

Try:
  curl -H 'content-type: application/json' -d '{"handler":"echo","input":{"hello":"world"}}' \\
    http://HOST/signalbox.v1.RunService/CreateRun
  curl http://HOST/healthz    is the process alive?
  curl http://HOST/readyz     can it do its work?
  curl http://HOST/metrics    figures for Prometheus
`;

/** Answers what is no call: `/`, `/healthz`, `/readyz`, `/metrics`, `/artifacts/…`, and 404 with a hint for the rest. GET and HEAD only. */
export function createHttpHandler(options: HttpOptions): RequestHandler {
  const { readiness, metrics, authenticate, artifacts, log } = options;
  const answers = new Map<string, Answer>([
    ["/", (request, response) => send(response, 200, "text/plain; charset=utf-8", welcomeAt(request))],
    ["/healthz", (_request, response) => send(response, 200, "text/plain; charset=utf-8", "ok\n")],
    [
      "/readyz",
      async (_request, response) => {
        const { ready, parts } = await readiness();
        sendJson(response, ready ? 200 : 503, { ready, parts });
      },
    ],
    [
      "/metrics",
      async (request, response) => {
        authenticate(request.headers.authorization);
        send(response, 200, metrics.contentType, await metrics.metrics());
      },
    ],
  ]);

  async function answer(request: EdgeRequest, response: EdgeResponse): Promise<void> {
    const path = pathOf(request);
    const found = answers.get(path);
    if (found === undefined) {
      const hint = `nothing is at ${path}: try GET /, or POST /signalbox.v1.RunService/CreateRun`;
      return sendError(response, new SignalboxError("NOT_IMPLEMENTED", hint), 404);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return sendError(response, new SignalboxError("INVALID_REQUEST", `${path} is read with GET`), 405);
    }
    await found(request, response);
  }

  return (request, response) => {
    if (artifacts !== undefined && pathOf(request).startsWith("/artifacts/")) return artifacts(request, response);
    answer(request, response).catch((error: unknown) => {
      if (!(error instanceof SignalboxError)) log.error({ err: error, path: pathOf(request) }, "request failed");
      sendError(response, error);
    });
  };
}

function welcomeAt(request: EdgeRequest): string {
  const authority = authorityOf(request) ?? "127.0.0.1:8080";
  return welcome.replaceAll("HOST", () => authority);
}
