import type { Logger } from "pino";
import type { Admission, Downloads, Visitor } from "../access/downloads.ts";
import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import { hasReason, SignalboxError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";
import { sendBody } from "./artifact-body.ts";
import { attachment, guardHeaders, safeContentType } from "./artifact-headers.ts";
import { planRange, type RangePlan } from "./artifact-range.ts";
import { connectionOf } from "./connection.ts";
import { sendError } from "./json-answer.ts";
import { type EdgeRequest, type EdgeResponse, pathOf, type RequestHandler } from "./request.ts";

/** What artifacts by URL are made of. */
export interface ArtifactHandlerOptions {
  readonly downloads: Downloads;
  readonly ids: IdSource;
  /** How long a reader may take nothing. */
  readonly readerTimeoutMs: number;
  readonly log: Logger;
}

/** The path that this handler answers, and everything below it. */
const root = "/artifacts/";
const placePattern = /^(ws_[0-9A-Za-z]{1,40})\/(art_[0-7][0-9A-HJKMNP-TV-Z]{25})$/;

/**
 * Answers `/artifacts/<token>` with a redirect to a signed URL, and `/artifacts/<workspace>/<artifact>?…` with bytes: GET and
 * HEAD, ranges, conditions. Needs no credential: the URL is one.
 */
export function createArtifactHandler(options: ArtifactHandlerOptions): RequestHandler {
  const { downloads, ids, readerTimeoutMs, log } = options;

  async function answer(request: EdgeRequest, response: EdgeResponse, visitor: Visitor): Promise<void> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return sendError(response, new SignalboxError("INVALID_REQUEST", "artifacts are read with GET or HEAD"), 405);
    }
    const path = pathOf(request);
    const below = path.slice(root.length);
    const [, workspaceId, artifactId] = placePattern.exec(below) ?? [];
    if (workspaceId === undefined || artifactId === undefined) {
      const location = await downloads.follow(below, visitor);
      response.statusCode = 302;
      // Relative to the link itself, so that it holds behind a proxy that puts a folder before it.
      response.setHeader("location", location);
      response.end();
      return;
    }
    const query = (request.url ?? "").slice(path.length + 1);
    const { artifact, admit } = await downloads.visit({ workspaceId, artifactId }, query, visitor);
    const etag = `"${artifact.sha256}"`;
    const plan = planRange(wantedOf(request), etag, artifact.sizeBytes);
    const admission = await admit(plan.from);
    await sendFile(request, response, { artifact, etag, plan, admission });
  }

  async function sendFile(request: EdgeRequest, response: EdgeResponse, file: File): Promise<void> {
    const { plan, admission, artifact } = file;
    const isEmpty = request.method === "HEAD" || plan.status === 304 || plan.status === 416;
    if (isEmpty) {
      describe(response, file);
      response.end();
      return;
    }
    const reader = new AbortController();
    response.once("close", () => reader.abort());
    const span = plan.status === 206 ? { from: Number(plan.from), to: Number(plan.to) } : undefined;
    // A store that fails at once still gets an answer that says so.
    const bytes = await admission.open(span, reader.signal);
    describe(response, file);
    const sent = await sendBody(response, bytes, readerTimeoutMs);
    if (sent === "stalled") log.info({ artifact_id: artifact.artifactId }, "slow reader of an artifact dropped");
  }

  return (request, response) => {
    const correlationId = ids.next("corr");
    const { remoteAddress } = connectionOf(request, undefined);
    for (const [name, value] of Object.entries(guardHeaders)) response.setHeader(name, value);
    response.setHeader("x-correlation-id", correlationId);
    answer(request, response, { correlationId, traceparent: "", remoteAddress }).catch((error: unknown) => {
      // Who went away caused what came after.
      if (response.destroyed && !(error instanceof SignalboxError)) return;
      const expected = error instanceof SignalboxError && !hasReason(error, "ARTIFACT_CORRUPT", "STORE_UNAVAILABLE");
      if (!expected) log.error({ err: error, correlation_id: correlationId }, "artifact could not be sent");
      if (!response.headersSent) refuse(response, error);
    });
  };
}

interface File {
  readonly artifact: Artifact;
  readonly etag: string;
  readonly plan: RangePlan;
  readonly admission: Admission;
}

/** Status and headers of an answer that has, or would have, bytes. */
function describe(response: EdgeResponse, { artifact, etag, plan }: File): void {
  const { status, from, to } = plan;
  response.statusCode = status;
  response.setHeader("etag", etag);
  response.setHeader("accept-ranges", "bytes");
  if (status === 304) return;
  if (status === 416) {
    response.setHeader("content-range", `bytes */${artifact.sizeBytes}`);
    response.setHeader("content-length", "0");
    return;
  }
  if (status === 206) response.setHeader("content-range", `bytes ${from}-${to - 1n}/${artifact.sizeBytes}`);
  response.setHeader("content-length", String(to - from));
  response.setHeader("content-type", safeContentType(artifact.contentType));
  response.setHeader("content-disposition", attachment(artifact.name));
}

function wantedOf({ method = "", headers }: EdgeRequest) {
  const { range, "if-range": ifRange, "if-none-match": ifNoneMatch } = headers;
  return { method, range, ifRange: ifRange as string | undefined, ifNoneMatch };
}

function refuse(response: EdgeResponse, error: unknown): void {
  if (hasReason(error, "RATE_LIMITED")) {
    response.setHeader("retry-after", String(Math.ceil(Number(error.metadata["retry_after_ms"] ?? 0) / 1000)));
  }
  if (hasReason(error, "ARTIFACT_EXPIRED")) return sendError(response, error, 410);
  if (hasReason(error, "INVALID_STATE")) return sendError(response, error, 409);
  sendError(response, error);
}
