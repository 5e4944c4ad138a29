import { setImmediate } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClaimRunRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { sleep } from "../kernel/wait.ts";
import type { ClaimAnswer } from "./claim-response.ts";

/** What runs are claimed for. */
export interface StreamClaimsOptions {
  /** One claim; an empty answer when none came in time or it was given up. */
  readonly claim: (request: ClaimRunRequest) => Promise<ClaimAnswer>;
  /** What the worker can do; max_wait is not looked at. */
  readonly request: ClaimRunRequest;
  /** Resolves once the worker has the run, as far as can be told, or never will. */
  readonly deliver: (run: ClaimAnswer) => Promise<void>;
  /** Told of a claim that failed again and again. */
  readonly fail: (error: unknown) => void;
  /** Ends the claims; those under way may still bring a run. */
  readonly giveUp: AbortSignal;
  /** Told whenever no claim is under way any more. */
  readonly onIdle: () => void;
}

/** The claims of a Work stream. */
export interface StreamClaims {
  /** The worker wants so many runs more. */
  want(runs: number): void;
  /** True while no claim is under way. */
  idle(): boolean;
}

// As many as a worker has waiting that claims with single calls.
const maxClaimers = 16;
const maxWait = durationFromMs(60_000);
const maxFailures = 5;
const firstPauseMs = 100;

/** Claims a run for each that is wanted, several side by side, and no more than that many ahead of their delivery. */
export function createStreamClaims(options: StreamClaimsOptions): StreamClaims {
  const { claim, deliver, fail, giveUp } = options;
  const request = { ...options.request, maxWait };
  let claimers = 0;
  let wanted = 0;
  let failures = 0;

  async function claimOne(): Promise<void> {
    try {
      const answer = await claim(request);
      failures = 0;
      if (answer.run === undefined) {
        wanted++;
        return;
      }
      await deliver(answer);
      // HTTP/2 sends at the end of the event loop's turn: the run does not have to wait until the next claim is under way.
      await setImmediate();
    } catch (error) {
      wanted++;
      // It is logged already. One bad job is no reason to cut the worker off; a store that stays away is.
      if (++failures >= maxFailures) return fail(error);
      await sleep(firstPauseMs * 2 ** failures, giveUp);
    }
  }

  async function claimOn(): Promise<void> {
    claimers++;
    while (wanted > 0 && !giveUp.aborted) {
      wanted--;
      await claimOne();
    }
    if (--claimers === 0) options.onIdle();
  }

  return {
    want(runs) {
      wanted += runs;
      for (let free = Math.min(wanted, maxClaimers - claimers); free > 0; free--) void claimOn();
    },
    idle: () => claimers === 0,
  };
}
