import type { Transport } from "@connectrpc/connect";
import { clientOver, type SignalboxClient } from "./clients.ts";
import type { Identity } from "./identity.ts";

/** How to reach Signalbox from a browser. */
export interface ClientOptions extends Identity {
  /** A transport of `@connectrpc/connect-web`; the server allows the page's origin with SIGNALBOX_ALLOWED_ORIGINS. */
  readonly transport: Transport;
}

/** A client of Signalbox for browsers: the same as on Node, without a transport of its own. */
export function createSignalboxClient(options: ClientOptions): SignalboxClient {
  return clientOver(options.transport, options);
}

export * from "./contract.ts";
