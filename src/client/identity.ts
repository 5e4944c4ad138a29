import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/** Who calls, and for which workspace. */
export interface Identity {
  /** Sent as `authorization: Bearer …`; none when absent. */
  readonly token?: string | undefined;
  /** Sent as `x-workspace-id`; when absent the server takes the credential's own workspace. */
  readonly workspaceId?: string | undefined;
  /**
   * On whose behalf every call is, nearest first, as `user:alice`, `agent:agt_…` or `service:gateway`, at most 8; sent as
   * `x-on-behalf-of`. Behind a token they are the chain of the program that has it; without authentication the first is
   * who calls. None when absent. Anything that is no such name, or has a comma in it, is a TypeError.
   */
  readonly onBehalfOf?: string | readonly string[] | undefined;
  /** Further headers of every call, for example `x-correlation-id`. Those of a single call win over them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** The longest chain that servers take. */
const maxChain = 8;

/** The names that fit: the nearest, and the person with whom it began, by whom rules go. */
export function shortened(names: readonly string[]): readonly string[] {
  if (names.length <= maxChain) return names;
  const begun = names.findLastIndex((name) => name.startsWith("user:"));
  return names.filter((_, index) => index < maxChain - 1 || index === Math.max(begun, maxChain - 1));
}

// No comma: what somebody has typed as a name must not become two.
const namePattern = /^(user|agent|service):[!-+\--~]{1,200}$/;

/** On whose behalf an identity calls, nearest first; empty for nobody. Throws a TypeError for what is no name. */
export function namesOf({ onBehalfOf = [] }: Identity): readonly string[] {
  const names = typeof onBehalfOf === "string" ? [onBehalfOf] : onBehalfOf;
  const bad = names.find((name) => !namePattern.test(name));
  if (bad === undefined) return names;
  throw new TypeError(`onBehalfOf ${JSON.stringify(bad)} is no principal; give names like user:alice or service:shop`);
}

/**
 * The transport with the headers of `identity` on every call; once `closed` aborts, every call is refused
 * (FAILED_PRECONDITION). A wrapper and not an interceptor, so that any transport will do, a browser's too.
 */
export function identified(transport: Transport, identity: Identity, closed: AbortSignal): Transport {
  const own = headersOf(identity);
  function merged(header: unknown): Headers {
    if (closed.aborted) throw new ConnectError("the client is closed; create another one", Code.FailedPrecondition);
    if (header === undefined) return own;
    const all = new Headers(own);
    // What a Headers can be made of: its name, HeadersInit, is one that only browsers' types have.
    new Headers(header as Headers).forEach((value, key) => all.set(key, value));
    return all;
  }
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      return transport.unary(method, signal, timeoutMs, merged(header), input, contextValues);
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      return transport.stream(method, signal, timeoutMs, merged(header), input, contextValues);
    },
  };
}

function headersOf(identity: Identity): Headers {
  const { token, workspaceId, headers } = identity;
  const own = new Headers(headers);
  if (token !== undefined) own.set("authorization", `Bearer ${token}`);
  if (workspaceId !== undefined) own.set("x-workspace-id", workspaceId);
  const names = namesOf(identity);
  if (names.length > 0) own.set("x-on-behalf-of", names.join(", "));
  return own;
}
