import { createBackoff, pause } from "../client/backoff.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { reasonOf } from "../client/reason.ts";
import type { WorkerLog } from "./log.ts";

/** A lease to keep. */
export interface KeptLease {
  readonly runId: string;
  readonly leaseToken: string;
  readonly ttlMs: number;
  readonly log: WorkerLog;
  /** Called once, when it is over: the run was canceled, or nobody can tell that the lease still holds. */
  readonly onEnd: (why: "canceled" | "lease_lost") => void;
  /** Called when the run is to pause; maybe more than once. */
  readonly onPause: () => void;
}

/** A lease that is kept. */
export interface Kept {
  /** Calls what is known by now but not told yet: after a handler has blocked the event loop, before it writes. */
  look(): void;
  /** No more heartbeats, nothing more is told. Doing it twice is fine. */
  end(): void;
}

/** Whoever sends the heartbeats of a worker's leases. */
export interface Heartbeats extends AsyncDisposable {
  /** Sends them, the first after a third of the time that the lease holds. */
  keep(lease: KeptLease): Kept;
}

/** Sends heartbeats from the event loop that handlers run on: one that blocks it beyond its lease loses that. */
export function createHeartbeats(engine: Pick<SignalboxClient["engine"], "heartbeat">): Heartbeats {
  let knownEpoch = 0n;

  /** A worker has many leases, and one line is enough. */
  function onStop(killEpoch: bigint, log: WorkerLog): void {
    if (killEpoch <= knownEpoch) return;
    knownEpoch = killEpoch;
    const message = "a kill switch stops external writes; runs that ask for one are paused";
    log.warn({ kill_epoch: String(killEpoch) }, message);
  }

  return {
    keep(lease) {
      const ending = new AbortController();
      void beat(engine, { ...lease, onStop }, ending.signal);
      return { look: () => {}, end: () => ending.abort() };
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Whoever hears that external writes are stopped. */
interface StopListener {
  readonly onStop: (killEpoch: bigint, log: WorkerLog) => void;
}

/** Sends heartbeats until the signal aborts or the lease is over. */
async function beat(
  engine: Pick<SignalboxClient["engine"], "heartbeat">,
  { leaseToken, ttlMs, log, onEnd, onPause, onStop }: Omit<KeptLease, "runId"> & StopListener,
  signal: AbortSignal,
): Promise<void> {
  const intervalMs = Math.floor(ttlMs / 3);
  const backoff = createBackoff(Math.min(100, intervalMs), Math.min(1_000, intervalMs));
  let heldUntilMs = performance.now() + ttlMs;
  let waitMs = intervalMs;
  for (;;) {
    await pause(waitMs, signal);
    if (signal.aborted) return;
    const sentMs = performance.now();
    try {
      const answer = await engine.heartbeat({ leaseToken }, { signal, timeoutMs: intervalMs });
      if (signal.aborted) return;
      if (answer.cancelRequested) return onEnd("canceled");
      if (answer.pauseRequested) onPause();
      if (answer.externalWritesStopped) onStop(answer.killEpoch, log);
      heldUntilMs = sentMs + ttlMs;
      waitMs = intervalMs;
      backoff.reset();
    } catch (error) {
      if (signal.aborted) return;
      const leftMs = heldUntilMs - performance.now();
      if (reasonOf(error) === "LEASE_LOST" || leftMs <= 0) {
        log.warn({ err: error }, "lease lost");
        return onEnd("lease_lost");
      }
      log.debug({ err: error }, "heartbeat failed");
      waitMs = Math.min(backoff.next(), leftMs);
    }
  }
}
