import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { WakeCondition } from "../../../gen/signalbox/v1/run_pb.ts";
import type { LogEvent, Violation } from "../invariants.ts";
import { foldRuns, type Run } from "./runs.ts";

/** How an installation stood when its faults were healed and it had had its time. */
export interface Healed {
  readonly leaseTtlMs: number;
  /** From the last healing, or from when clients began no more runs if that was later, until everything was done. */
  readonly tookMs: number;
  /** When that was, in milliseconds since the epoch. */
  readonly settleTimeMs: number;
  /** Jobs left in the queue. */
  readonly pendingJobs: number;
  readonly projectedPosition: bigint;
  /** The addresses of servers that did not say that they are well. */
  readonly unwell: readonly string[];
}

/** Lease times that an installation has to settle after its faults are healed. */
export const settlingLeases = 3;

/**
 * I13: soon after the faults heal, every run has ended, or waits for what has not happened, or is paused; no child of an ended
 * run is open; no job is left, the read models are up to date, all servers well.
 */
export function checkHealth(log: readonly LogEvent[], healed: Healed): Violation[] {
  const violations: Violation[] = [];
  const fail = (at: string, problem: string) => violations.push({ invariant: "I13", at, problem });
  for (const [stream, problem] of stuckRuns(log, healed.settleTimeMs)) fail(stream, problem);
  const head = log.at(-1)?.position ?? 0n;
  if (healed.projectedPosition !== head) fail("projector", `is at ${healed.projectedPosition}, the log at ${head}`);
  if (healed.pendingJobs > 0) fail("queue", `has ${healed.pendingJobs} jobs left`);
  for (const url of healed.unwell) fail(url, "does not say that it is well");
  const limitMs = settlingLeases * healed.leaseTtlMs;
  if (healed.tookMs > limitMs) fail("installation", `settled after ${healed.tookMs} ms, more than ${limitMs} ms`);
  return violations;
}

/** The runs with which something should have happened, and what. */
function* stuckRuns(log: readonly LogEvent[], nowMs: number): Generator<readonly [stream: string, problem: string]> {
  const { runs } = foldRuns(log);
  const last = new Map(log.map((entry) => [entry.stream, entry]));
  const parents = parentsOf(log);
  const hasEnded = (stream: string | undefined) => stream !== undefined && runs.get(stream)?.status === "ended";
  for (const [stream, run] of runs) {
    if (run.status === "ended") continue;
    if (hasEnded(parents.get(stream))) yield [stream, `is ${run.status}, though its parent has ended`];
    if (run.status === "queued" || run.status === "running") {
      yield [stream, `is ${run.status}; its last event is ${last.get(stream)?.name}`];
    }
    const workspaceId = last.get(stream)?.event.workspaceId;
    const childEnded = (runId: string) => hasEnded(`${workspaceId}/run/${runId}`);
    for (const problem of missed(run, childEnded, nowMs)) yield [stream, problem];
  }
}

/** What a waiting run should have been told of. */
function* missed(
  { status, conditions, endedChildren }: Run,
  childEnded: (runId: string) => boolean,
  nowMs: number,
): Generator<string> {
  if (status !== "waiting") return;
  for (const { condition } of conditions) {
    if (isPast(condition, nowMs)) yield "waits for a time that has come";
    if (condition.case !== "children") continue;
    for (const id of condition.value.runIds) {
      if (childEnded(id) && !endedChildren.has(id)) yield `waits for ${id}, which has ended`;
    }
  }
}

function isPast(condition: WakeCondition["condition"], nowMs: number): boolean {
  return condition.case === "time" && timestampMs(condition.value) <= nowMs;
}

/** The stream of each run's parent, by its own. */
function parentsOf(log: readonly LogEvent[]): Map<string, string> {
  const parents = new Map<string, string>();
  for (const { event, stream } of log) {
    const parentRunId = event.payload.case === "runCreated" ? event.payload.value.parentRunId : "";
    if (parentRunId !== "") parents.set(stream, `${event.workspaceId}/run/${parentRunId}`);
  }
  return parents;
}
