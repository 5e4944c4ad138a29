import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { SignalboxError } from "./errors.ts";

/** Who calls, for which workspace, and what ties the call to others. Every service function takes one. */
export interface Call {
  /** The tenant. Every subject and every query is scoped by it. */
  readonly workspaceId: string;
  /** Who is calling. */
  readonly principal: Principal;
  /** Ties together everything that this call sets in motion. */
  readonly correlationId: string;
  /** The W3C trace context; empty for none. */
  readonly traceparent: string;
  /** The address that the caller connected from, which may be a proxy's; unset or empty when that is not known. */
  readonly remoteAddress?: string;
  /** How others reach this server, without a slash at the end: `https://signalbox.example`; unset when that is not known. */
  readonly serverUrl?: string;
  /** Aborts when the caller is gone, its deadline is over, or the server gives up draining. */
  readonly signal: AbortSignal;
}

/** What the authentication interceptor leaves for the handlers. */
export const callKey = createContextKey<Omit<Call, "signal"> | undefined>(undefined, {
  description: "signalbox call",
});

/** The call that a handler serves. Throws UNAUTHENTICATED when no interceptor has identified it. */
export function callOf(context: HandlerContext): Call {
  const identity = context.values.get(callKey);
  if (identity === undefined) throw new SignalboxError("UNAUTHENTICATED", "the call was not identified");
  return { ...identity, signal: context.signal };
}
