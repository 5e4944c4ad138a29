import { terminalRunTypes } from "../../../src/eventlog/event-type.ts";
import type { LogEvent, Violation } from "../invariants.ts";

/** How an installation stood when its faults were healed and it had had its time. */
export interface Healed {
  readonly leaseTtlMs: number;
  /** From the last healing until everything was done. */
  readonly tookMs: number;
  /** Jobs left in the queue. */
  readonly pendingJobs: number;
  readonly projectedPosition: bigint;
  /** The addresses of servers that did not say that they are well. */
  readonly unwell: readonly string[];
}

/** Lease times that an installation has to settle after its faults are healed. */
export const settlingLeases = 3;

/** I13: soon after the faults heal, every run has ended, no job is left, the read models are up to date, all servers well. */
export function checkHealth(log: readonly LogEvent[], healed: Healed): Violation[] {
  const violations: Violation[] = [];
  const fail = (at: string, problem: string) => violations.push({ invariant: "I13", at, problem });
  const runs = new Map(log.filter(({ event }) => event.stream?.type === "run").map((entry) => [entry.stream, entry]));
  const ended = new Set(log.filter(({ event }) => terminalRunTypes.has(event.type)).map(({ stream }) => stream));
  for (const [stream, last] of runs)
    if (!ended.has(stream)) fail(stream, `has not ended; its last event is ${last.name}`);
  const head = log.at(-1)?.position ?? 0n;
  if (healed.projectedPosition !== head) fail("projector", `is at ${healed.projectedPosition}, the log at ${head}`);
  if (healed.pendingJobs > 0) fail("queue", `has ${healed.pendingJobs} jobs left`);
  for (const url of healed.unwell) fail(url, "does not say that it is well");
  const limitMs = settlingLeases * healed.leaseTtlMs;
  if (healed.tookMs > limitMs) fail("installation", `settled after ${healed.tookMs} ms, more than ${limitMs} ms`);
  return violations;
}
