import type { Queue } from "../../../gen/signalbox/v1/queue_pb.ts";
import type { RunCreated } from "../../../gen/signalbox/v1/run_event_pb.ts";
import type { LogEvent, Violation } from "../invariants.ts";

type Limits = Pick<Queue, "maxRunning" | "maxRunningPerKey">;

/**
 * I15: no more runs of a queue, and of a concurrency key in it, are under a lease at the same time than its settings say. What
 * is under way when settings become narrower may end.
 */
export function checkLimits(log: readonly LogEvent[]): Violation[] {
  const violations: Violation[] = [];
  const limits = new Map<string, Limits>();
  const created = new Map<string, RunCreated>();
  /** The streams of the runs under a lease, by queue, and by queue and key. */
  const running = new Map<string, Set<string>>();
  for (const { event, stream, name } of log) {
    const { workspaceId, payload } = event;
    if (payload.case === "queueUpdated" && payload.value.queue) {
      limits.set(`${workspaceId}/${event.stream?.id}`, payload.value.queue);
    }
    if (payload.case === "runCreated") created.set(stream, payload.value);
    const run = created.get(stream);
    if (run === undefined) continue;
    const { queue, concurrencyKey } = run;
    const { maxRunning = 0, maxRunningPerKey = 0 } = limits.get(`${workspaceId}/${queue}`) ?? {};
    const places = [
      { key: `${workspaceId}/${queue}`, what: `queue ${queue}`, limit: maxRunning },
      ...(concurrencyKey === ""
        ? []
        : [
            {
              key: `${workspaceId}/${queue}/${concurrencyKey}`,
              what: `key ${concurrencyKey}`,
              limit: maxRunningPerKey,
            },
          ]),
    ];
    for (const { key, what, limit } of places) {
      const holders = running.get(key) ?? new Set();
      running.set(key, holders);
      if (payload.case !== "runClaimed") {
        if (endsLease(payload)) holders.delete(stream);
        continue;
      }
      holders.add(stream);
      if (limit === 0 || holders.size <= limit) continue;
      violations.push({
        invariant: "I15",
        at: name,
        problem: `${holders.size} of ${what} are running, of at most ${limit}`,
      });
    }
  }
  return violations;
}

function endsLease({ value }: LogEvent["event"]["payload"]): boolean {
  return value !== undefined && "lease" in value && value.lease !== undefined;
}
