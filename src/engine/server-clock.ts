import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Claim } from "./lease.ts";

/**
 * The server's clock in milliseconds since 1970, carried on from a claim that has just come in; the worker's own clock may
 * differ from it by any amount.
 */
export function serverClock({ serverTime }: Claim): () => number {
  const startMs = serverTime === undefined ? Date.now() : timestampMs(serverTime);
  const receivedMs = performance.now();
  return () => startMs + (performance.now() - receivedMs);
}
