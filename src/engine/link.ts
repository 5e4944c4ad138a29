import type { SignalboxClient } from "../client/clients.ts";
import { type ClaimOptions, claimRuns } from "./claims.ts";
import type { Engine } from "./lease.ts";

/** What runs are claimed for, whichever way they come. */
export type Claiming = Omit<ClaimOptions, "engine">;

/** How a worker and the server talk. */
export interface Link extends AsyncDisposable {
  /** The calls of the service. */
  readonly engine: Engine;
  /** Claims runs until the signal aborts. Throws what does not pass by itself. */
  claim(claiming: Claiming, signal: AbortSignal): Promise<void>;
}

// One call could keep no more than one run on its way, and four held a busy worker at 330 runs a second where 16 reach 400.
const maxClaimers = 16;

/** Each call by itself; claims wait at the server, several side by side, at most `concurrency`. */
export function singleCalls({ engine }: Pick<SignalboxClient, "engine">, concurrency: number): Link {
  return {
    engine,
    async claim(claiming, signal) {
      const stop = new AbortController();
      const all = AbortSignal.any([signal, stop.signal]);
      // One that fails for good stops the others.
      const claimers = Array.from({ length: Math.min(concurrency, maxClaimers) }, () =>
        claimRuns({ ...claiming, engine }, all).finally(() => stop.abort()),
      );
      await Promise.allSettled(claimers);
      await Promise.all(claimers);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
