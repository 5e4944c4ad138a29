import { cors } from "@connectrpc/connect";
import { SignalboxError } from "../kernel/errors.ts";
import { sendError } from "./json-answer.ts";
import type { EdgeRequest, EdgeResponse } from "./request.ts";

const methods = cors.allowedMethods.join(", ");
const allowedHeaders = [
  ...cors.allowedHeaders,
  "Authorization",
  "X-Workspace-Id",
  "X-On-Behalf-Of",
  "X-Correlation-Id",
  "Traceparent",
  // Of artifacts by URL.
  "Range",
  "If-Range",
  "If-None-Match",
].join(", ");
const exposedHeaders = [
  ...cors.exposedHeaders,
  "X-Correlation-Id",
  // Of artifacts by URL.
  "Accept-Ranges",
  "Content-Disposition",
  "Content-Length",
  "Content-Range",
  "ETag",
  "Retry-After",
].join(", ");
const preflightMaxAgeSeconds = "7200";

/** Looks at a request before anyone answers it; true when it was a preflight, which is answered then. */
export type Cors = (request: EdgeRequest, response: EdgeResponse) => boolean;

/**
 * Lets pages of the given origins, and no others, read answers: Fetch standard, 3.3. No credentials: tokens travel in a
 * header that the page sets itself. An empty list lets none.
 */
export function createCors(allowedOrigins: readonly string[]): Cors {
  const allowed = new Set(allowedOrigins);
  return (request, response) => {
    const { origin } = request.headers;
    if (origin === undefined) return false;
    const preflight = request.method === "OPTIONS" && "access-control-request-method" in request.headers;
    if (allowed.size > 0) response.setHeader("vary", "Origin");
    if (allowed.has(origin)) {
      response.setHeader("access-control-allow-origin", origin);
      response.setHeader("access-control-expose-headers", exposedHeaders);
      if (preflight) allowPreflight(response);
    } else if (preflight) {
      const message = `pages of ${origin} may not call this server: add the origin to SIGNALBOX_ALLOWED_ORIGINS`;
      sendError(response, new SignalboxError("PERMISSION_DENIED", message));
    }
    return preflight;
  };
}

function allowPreflight(response: EdgeResponse): void {
  response.setHeader("access-control-allow-methods", methods);
  response.setHeader("access-control-allow-headers", allowedHeaders);
  response.setHeader("access-control-max-age", preflightMaxAgeSeconds);
  response.statusCode = 204;
  response.end();
}
