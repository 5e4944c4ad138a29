import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request of either protocol. */
export type EdgeRequest = IncomingMessage | Http2ServerRequest;
/** The answer to a request of either protocol. */
export type EdgeResponse = (ServerResponse & { req: IncomingMessage }) | Http2ServerResponse;
/** Answers every request. */
export type RequestHandler = (request: EdgeRequest, response: EdgeResponse) => void;

/** The path of a request, without its query. */
export function pathOf({ url = "/" }: EdgeRequest): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** The host and port that a request was sent to, as its sender names it; undefined when it does not say. */
export function authorityOf(request: EdgeRequest): string | undefined {
  return "authority" in request && request.authority !== "" ? request.authority : request.headers.host;
}
