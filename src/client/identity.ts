import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/** Who calls, and for which workspace. */
export interface Identity {
  /** Sent as `authorization: Bearer …`; none when absent. */
  readonly token?: string | undefined;
  /** Sent as `x-workspace-id`; when absent the server takes the credential's own workspace. */
  readonly workspaceId?: string | undefined;
  /** Further headers of every call, for example `x-correlation-id`. Those of a single call win over them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
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

function headersOf({ token, workspaceId, headers }: Identity): Headers {
  const own = new Headers(headers);
  if (token !== undefined) own.set("authorization", `Bearer ${token}`);
  if (workspaceId !== undefined) own.set("x-workspace-id", workspaceId);
  return own;
}
