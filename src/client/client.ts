import type { Transport } from "@connectrpc/connect";
import { clientOver, type SignalboxClient } from "./clients.ts";
import type { Identity } from "./identity.ts";
import { type NodeTransportOptions, openNodeTransport } from "./node-transport.ts";

/** How to reach Signalbox. Give `baseUrl`, or a `transport` of your own in its place. */
export interface ClientOptions extends Identity, Partial<NodeTransportOptions> {
  /** Any transport of Connect, for example one of `@connectrpc/connect-web` in a browser. It is not closed with the client. */
  readonly transport?: Transport | undefined;
}

/**
 * A client of Signalbox; it connects with the first call. Throws a TypeError when neither or both of `baseUrl` and
 * `transport` are given, or when they make no sense.
 */
export function createSignalboxClient(options: ClientOptions): SignalboxClient {
  const { baseUrl, transport, protocol, httpVersion } = options;
  if ((baseUrl === undefined) === (transport === undefined)) {
    throw new TypeError("give baseUrl, for example http://127.0.0.1:8080, or transport, and not both");
  }
  if (transport !== undefined) return clientOver(transport, options);
  const opened = openNodeTransport({ baseUrl: baseUrl ?? "", protocol, httpVersion });
  return clientOver(opened.transport, options, opened.close);
}

export { ArtifactMismatchError } from "./artifact-check.ts";
export * from "./contract.ts";
export { downloadArtifact, type DownloadOptions } from "./download-artifact.ts";
export { openSealedArtifact, type OpenSealedOptions, WrongIdentityError } from "./sealed-artifact.ts";
export { SealBrokenError } from "../sealing/seal-broken-error.ts";
