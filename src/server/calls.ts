import { createContextKey, type HandlerContext, type Interceptor, type StreamRequest } from "@connectrpc/connect";
import { Health } from "../../gen/health/v1/health_pb.ts";
import { callKey } from "../kernel/call.ts";
import { toConnectError } from "../kernel/errors.ts";
import { type Observe, observeKey } from "../kernel/inner-call.ts";
import type { IdSource } from "../kernel/ids.ts";
import { type Authenticate, nobody } from "./auth.ts";
import { connectionKey } from "./connection.ts";
import { correlationIdOf, identityOf } from "./identity.ts";
import { openMethods } from "./open-methods.ts";
import { beginProgress, type Outcomes, type Progress } from "./outcomes.ts";
import { watchStream } from "./watch-stream.ts";

/** What surrounds every call. */
export interface CallEdge {
  /**
   * Runs before the body is read: identifies the caller, leaves the call for the handler (kernel/call.ts) and sets
   * `x-correlation-id` on the answer. Throws UNAUTHENTICATED, INVALID_REQUEST.
   */
  readonly gate: (context: HandlerContext) => void;
  /** Runs around the handler: turns what it throws into what a client may see, measures, logs. Goes outermost. */
  readonly interceptor: Interceptor;
}

/** What the edge of calls is made of. */
export interface CallEdgeOptions {
  readonly authenticate: Authenticate;
  /** False where callers are who they say. */
  readonly asksForCredentials: boolean;
  readonly ids: IdSource;
  readonly outcomes: Outcomes;
}

type Next = Parameters<Interceptor>[0];

const progressKey = createContextKey<Progress | undefined>(undefined, { description: "signalbox progress" });

/** Creates the gate and the interceptor; the second relies on what the first leaves. */
export function createCallEdge({ authenticate, asksForCredentials, ids, outcomes }: CallEdgeOptions): CallEdge {
  function gate(context: HandlerContext): void {
    const header = context.requestHeader;
    const progress = beginProgress(context.method, correlationIdOf(header, ids));
    context.values.set(progressKey, progress);
    context.responseHeader.set("x-correlation-id", progress.correlationId);
    // Every call ends by aborting its signal. When Connect itself raises an error (a body that does not parse, an answer
    // that does not serialize), the error is the signal's reason: it passes no interceptor, but it passes here, before
    // it is sent.
    const { signal } = context;
    signal.addEventListener("abort", () => outcomes.failedOutside(progress, signal.reason), { once: true });
    // Probes have no credentials.
    if (context.service.typeName === Health.typeName) return;
    try {
      const authorization = header.get("authorization");
      const isOpen = authorization === null && openMethods.has(context.method);
      const caller = isOpen && asksForCredentials ? nobody : authenticate(authorization);
      const identity = identityOf(header, caller, progress.correlationId);
      context.values.set(callKey, { ...identity, ...context.values.get(connectionKey) });
    } catch (error) {
      throw toConnectError(error);
    }
  }

  async function single<T>(progress: Progress, signal: AbortSignal, serve: () => Promise<T>): Promise<T> {
    try {
      const response = await serve();
      outcomes.unaryEnded(progress, undefined);
      return response;
    } catch (error) {
      const answer = outcomes.failed(progress, error, signal);
      outcomes.unaryEnded(progress, answer.code);
      throw answer;
    }
  }

  async function streaming(next: Next, request: StreamRequest, progress: Progress) {
    outcomes.streamOpened(progress);
    const { signal } = request;
    const observe: Observe = (method, serve) => single(beginProgress(method, progress.correlationId), signal, serve);
    request.contextValues.set(observeKey, observe);
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const message = watchStream(response.message, {
        signal: request.signal,
        failed: (error) => outcomes.failed(progress, error, request.signal),
        ended: (code) => outcomes.streamEnded(progress, code),
      });
      return { ...response, message };
    } catch (error) {
      const answer = outcomes.failed(progress, error, request.signal);
      outcomes.streamEnded(progress, answer.code);
      throw answer;
    }
  }

  const interceptor: Interceptor = (next) => (request) => {
    const progress = request.contextValues.get(progressKey);
    if (progress === undefined) throw new Error("the call passed no gate");
    progress.reached = true;
    return request.stream ? streaming(next, request, progress) : single(progress, request.signal, () => next(request));
  };

  return { gate, interceptor };
}
