import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { ClaimRunResponse } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import { isTransient } from "../client/reason.ts";
import type { Claim, Engine } from "./lease.ts";
import type { WorkerLog } from "./log.ts";
import type { Slots } from "./slots.ts";

/** What runs are claimed for. */
export interface ClaimOptions {
  readonly engine: Engine;
  readonly queues: readonly string[];
  readonly handlers: readonly string[];
  readonly workerId: string;
  /** One is taken before each claim; whoever gets the claim frees it. */
  readonly slots: Slots;
  readonly onClaim: (claim: Claim) => void;
  /** Told of each failure that may pass, and undefined after each success. */
  readonly onTrouble: (error: ConnectError | undefined) => void;
}

const maxWaitMs = 20_000;
// An answer that is this late will not come any more.
const timeoutMs = maxWaitMs + 10_000;

/** Claims runs one after the other until the signal aborts. Throws what does not pass by itself. */
export async function claimRuns(options: ClaimOptions, signal: AbortSignal): Promise<void> {
  const { engine, slots, onClaim, onTrouble } = options;
  const request = {
    queues: [...options.queues],
    handlers: [...options.handlers],
    workerId: options.workerId,
    maxWait: durationFromMs(maxWaitMs),
  };
  const backoff = createBackoff(100, 5_000);
  while (await slots.take(signal)) {
    const askedMs = performance.now();
    let answer: ClaimRunResponse;
    try {
      answer = await engine.claimRun(request, { signal, timeoutMs });
    } catch (error) {
      slots.free();
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      onTrouble(ConnectError.from(error));
      await pause(backoff.next(), signal);
      continue;
    }
    onTrouble(undefined);
    if (hasRun(answer)) {
      backoff.reset();
      // Even when the signal has aborted by now: the lease is ours, and lost if nobody works on it.
      onClaim(answer);
      continue;
    }
    slots.free();
    // A server that does not wait as asked must not be asked in a loop.
    if (performance.now() - askedMs < maxWaitMs / 2) await pause(backoff.next(), signal);
    else backoff.reset();
  }
}

function hasRun(answer: ClaimRunResponse): answer is Claim {
  return answer.run !== undefined;
}

/** A listener for `onTrouble` of any number of claimers that logs changes only, not every try. */
export function createTroubleLog(log: WorkerLog, onError: (error: unknown) => void): ClaimOptions["onTrouble"] {
  let last: string | undefined;
  return (error) => {
    if (error?.message === last) return;
    last = error?.message;
    if (error === undefined) return log.info({}, "claiming runs again");
    log.warn({ err: error }, "runs can not be claimed; trying again");
    onError(error);
  };
}
