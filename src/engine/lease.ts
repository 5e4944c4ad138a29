import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type { ClaimRunResponse } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { isTransient, reasonOf } from "../client/reason.ts";
import { RunStoppedError, type StopCause } from "./handler-error.ts";
import type { Heartbeats } from "./heartbeats.ts";
import type { WorkerLog } from "./log.ts";

/** A run that was claimed, and what came with it. */
export type Claim = ClaimRunResponse & { readonly run: Run };

/** What the lease calls. */
export type Engine = SignalboxClient["engine"];

/** The right to write for a run, kept alive by heartbeats until it is given up or lost. */
export interface Lease {
  /** Aborts with a RunStoppedError when nothing more may be written. */
  readonly signal: AbortSignal;
  /** Why it has aborted; undefined before that. */
  why(): StopCause | undefined;
  /**
   * The answer of an idempotent call, repeated while it fails for reasons that may pass. Throws the signal's reason once
   * that has aborted, and what the server refuses.
   */
  write<T>(call: (options: CallOptions) => Promise<T>): Promise<T>;
  /** Calls `listener` when the run is to pause, maybe more than once. */
  onPause(listener: () => void): void;
  /** The handler is done: no more heartbeats; the outcome may be written for as long as a lease holds. */
  finish(): void;
  /** Ends it: nothing more is written. Only the first cause counts. */
  stop(why: StopCause): void;
}

// Long enough for a slow disk, short enough to notice a dead connection while the lease holds.
const writeTimeoutMs = 10_000;
// Node's timers end after 2^31 - 1 ms; a run with a later deadline hears of it by heartbeat.
const maxTimerMs = 2 ** 31 - 1;

/** Has heartbeats sent for a claim. */
export function openLease(heartbeats: Heartbeats, claim: Claim, log: WorkerLog): Lease {
  const { leaseToken } = claim;
  const ttlMs = claim.leaseTtl === undefined ? 30_000 : durationMs(claim.leaseTtl);
  const stopped = new AbortController();
  const pauses = new Set<() => void>();
  let cause: StopCause | undefined;
  let expiry: NodeJS.Timeout | undefined;
  const deadline = deadlineTimer(claim, ttlMs, () => stop("deadline"));
  const { runId } = claim.run;
  const kept = heartbeats.keep({ runId, leaseToken, ttlMs, log, onEnd: stop, onPause });

  function onPause(): void {
    for (const listener of pauses) listener();
  }

  function stop(why: StopCause): void {
    if (cause !== undefined) return;
    cause = why;
    kept.end();
    clearTimeout(expiry);
    clearTimeout(deadline);
    stopped.abort(new RunStoppedError(why));
  }

  function finish(): void {
    kept.look();
    if (cause !== undefined) return;
    kept.end();
    clearTimeout(deadline);
    expiry = setTimeout(() => stop("lease_lost"), ttlMs);
  }

  async function write<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
    const { signal } = stopped;
    const backoff = createBackoff(50, 2_000);
    for (;;) {
      kept.look();
      signal.throwIfAborted();
      try {
        return await call({ signal, timeoutMs: writeTimeoutMs });
      } catch (error) {
        if (reasonOf(error) === "LEASE_LOST") stop("lease_lost");
        signal.throwIfAborted();
        if (!isTransient(error)) throw error;
        log.debug({ err: error }, "a record could not be written yet");
      }
      await pause(backoff.next(), signal);
    }
  }

  return {
    signal: stopped.signal,
    why: () => cause,
    write,
    onPause: (listener) => void pauses.add(listener),
    finish,
    stop,
  };
}

/** A timer for the run's deadline. The two clocks may differ, so the server's time is taken from its own answer. */
function deadlineTimer(claim: Claim, ttlMs: number, onDeadline: () => void): NodeJS.Timeout | undefined {
  const { run, leaseExpireTime } = claim;
  if (run.deadlineTime === undefined || leaseExpireTime === undefined) return undefined;
  const leftMs = timestampMs(run.deadlineTime) - (timestampMs(leaseExpireTime) - ttlMs);
  return leftMs <= maxTimerMs ? setTimeout(onDeadline, leftMs) : undefined;
}
