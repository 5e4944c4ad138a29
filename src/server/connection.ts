import { createContextKey } from "@connectrpc/connect";
import { authorityOf, type EdgeRequest } from "./request.ts";

/** What the way that a request came says about it. */
export interface Connection {
  /** The address at the other end of the connection, which may be a proxy's: what a header says is not believed. Empty when it is closed. */
  readonly remoteAddress: string;
  /** How others reach this server, without a slash at the end; empty when that is not known. */
  readonly serverUrl: string;
}

/** What is known of the connection of a call. */
export const connectionKey = createContextKey<Connection>(
  { remoteAddress: "", serverUrl: "" },
  { description: "signalbox connection" },
);

const authorityPattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/**
 * The connection of a request. Without `publicUrl`, the server is where the request was sent to, over http: whoever makes up a
 * Host gets an answer that names it, and nobody else does.
 */
export function connectionOf(request: EdgeRequest, publicUrl: string | undefined): Connection {
  const authority = authorityOf(request) ?? "";
  const said = authorityPattern.test(authority) ? `http://${authority}` : "";
  // An IPv4 address that came in over IPv6 is still one.
  const remoteAddress = request.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, "") ?? "";
  return { remoteAddress, serverUrl: publicUrl ?? said };
}
