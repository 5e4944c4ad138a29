import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";

/** A call without its signal: what the header of a request says about it. */
export type Identity = Omit<Call, "signal">;

const defaultWorkspaceId = "ws_dev";
const workspacePattern = /^ws_[0-9A-Za-z]{1,40}$/;
// Visible ASCII, because it goes back to the caller as a header and into logs.
const correlationPattern = /^[!-~]{1,200}$/;
// W3C trace context, level 1: later versions may append fields, all-zero ids are invalid.
const traceparentPattern =
  /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$))/;
const traceparentLength = 55;

/**
 * What `header` says about a call of `principal`: the workspace (`x-workspace-id`, default `ws_dev`; INVALID_REQUEST when
 * malformed) and the trace context (`traceparent`, empty when missing or invalid).
 */
export function identityOf(header: Headers, principal: Principal, correlationId: string): Identity {
  return {
    workspaceId: workspaceId(header.get("x-workspace-id")),
    principal,
    correlationId,
    traceparent: traceparent(header.get("traceparent")),
  };
}

/** The caller's correlation id (`x-correlation-id`), or a new one when there is none that can be used. */
export function correlationIdOf(header: Headers, ids: IdSource): string {
  const given = header.get("x-correlation-id");
  return given !== null && correlationPattern.test(given) ? given : ids.next("corr");
}

function workspaceId(given: string | null): string {
  if (given === null) return defaultWorkspaceId;
  if (workspacePattern.test(given)) return given;
  throw new SignalboxError("INVALID_REQUEST", "x-workspace-id: must be `ws_` and 1 to 40 letters or digits", {
    field: "x-workspace-id",
  });
}

function traceparent(given: string | null): string {
  return given !== null && traceparentPattern.test(given) ? given.slice(0, traceparentLength) : "";
}
