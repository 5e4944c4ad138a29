import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";
import { isAnonymous, maxChain, onBehalfOf, principalOfName } from "../kernel/principal.ts";
import type { Caller } from "./auth.ts";

/** A call without its signal: what the header of a request says about it. */
export type Identity = Omit<Call, "signal">;

const defaultWorkspaceId = "ws_dev";
/** Where the installation records what belongs to no workspace: its kill switch. */
const reservedWorkspaceId = "ws_installation";
const workspacePattern = /^ws_[0-9A-Za-z]{1,40}$/;
// Visible ASCII, because it goes back to the caller as a header and into logs.
const correlationPattern = /^[!-~]{1,200}$/;
// W3C trace context, level 1: later versions may append fields, all-zero ids are invalid.
const traceparentPattern =
  /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$))/;
const traceparentLength = 55;

/**
 * What `header` says about a call of `caller`: the workspace (`x-workspace-id`, default `ws_dev`), on whose behalf it is made
 * (`x-on-behalf-of`, nearest first; INVALID_REQUEST when either is malformed) and the trace context (`traceparent`, empty
 * when missing or invalid).
 */
export function identityOf(header: Headers, caller: Caller, correlationId: string): Identity {
  return {
    workspaceId: workspaceId(header.get("x-workspace-id")),
    principal: principal(caller, chain(header.get("x-on-behalf-of"))),
    correlationId,
    traceparent: traceparent(header.get("traceparent")),
  };
}

/** The caller's correlation id (`x-correlation-id`), or a new one when there is none that can be used. */
export function correlationIdOf(header: Headers, ids: IdSource): string {
  const given = header.get("x-correlation-id");
  return given !== null && correlationPattern.test(given) ? given : ids.next("corr");
}

/**
 * Behind a credential the names are its chain; where none is asked for, the first is the caller and the others are its chain.
 * Who should have one and has none speaks for nobody.
 */
function principal(caller: Caller, [first, ...rest]: readonly Principal[]): Principal {
  if (first === undefined || isAnonymous(caller.principal)) return caller.principal;
  return caller.proven ? onBehalfOf(caller.principal, [first, ...rest]) : onBehalfOf(first, rest);
}

function chain(given: string | null): Principal[] {
  if (given === null) return [];
  const names = given.split(",").map((name) => name.trim());
  if (names.length > maxChain) throw badChain(`names ${names.length} principals of at most ${maxChain}`);
  return names.map((name) => {
    const named = principalOfName(name);
    if (named === undefined)
      throw badChain("must be names like `user:alice`, `agent:agt_…` or `service:shop` with commas between");
    return named;
  });
}

function badChain(problem: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", `x-on-behalf-of: ${problem}`, { field: "x-on-behalf-of" });
}

function workspaceId(given: string | null): string {
  if (given === null) return defaultWorkspaceId;
  if (given === reservedWorkspaceId) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      `x-workspace-id: ${given} is the installation's own; name another one`,
      {
        field: "x-workspace-id",
      },
    );
  }
  if (workspacePattern.test(given)) return given;
  throw new SignalboxError("INVALID_REQUEST", "x-workspace-id: must be `ws_` and 1 to 40 letters or digits", {
    field: "x-workspace-id",
  });
}

function traceparent(given: string | null): string {
  return given !== null && traceparentPattern.test(given) ? given.slice(0, traceparentLength) : "";
}
