import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { SignalboxClient } from "../../src/client/client.ts";
import type { Claim } from "./claims.ts";

/** Some who claim runs and work on them with plain calls, until they are disposed. */
export interface Hands extends AsyncDisposable {
  /** The runs that were claimed, in order. */
  readonly claimed: readonly string[];
}

/** What hands do. */
export interface HandsOptions {
  readonly count: number;
  readonly handlers: string[];
  readonly queues?: string[];
  /** Works on a run; it is completed afterwards, unless this answers false. Default: a moment passes. */
  readonly work?: (claim: Claim) => Promise<boolean | void>;
}

/** Begins to claim. A server that is away is asked again; whatever else goes wrong is thrown when they are disposed. */
export function openHands(client: SignalboxClient, options: HandsOptions): Hands {
  const { count, handlers, queues = [], work = () => sleep(2) } = options;
  const stop = new AbortController();
  const claimed: string[] = [];

  async function loop(index: number): Promise<void> {
    const workerId = `hand_${index}`;
    while (!stop.signal.aborted) {
      try {
        const answer = await client.engine.claimRun({ handlers, queues, workerId, maxWait: { seconds: 2n } }, stop);
        if (answer.run === undefined) continue;
        claimed.push(answer.run.runId);
        if ((await work(answer as Claim)) === false) continue;
        await client.engine.completeRun({ leaseToken: answer.leaseToken });
      } catch (error) {
        if (!isPassing(error)) throw error;
        await sleep(20);
      }
    }
  }

  const loops = Array.from({ length: count }, (_, index) => loop(index));
  // It is thrown when they are disposed; until then it is nobody's.
  for (const each of loops) each.catch(() => undefined);
  return {
    claimed,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(loops);
    },
  };
}

/** The server is away, or we were told to stop, or the lease has lapsed meanwhile: what was begun goes on under another one. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return passing.has(error.code) || error.rawMessage.includes("REFUSED_STREAM");
}

const passing = new Set([Code.Unavailable, Code.Canceled, Code.Unknown, Code.FailedPrecondition]);
