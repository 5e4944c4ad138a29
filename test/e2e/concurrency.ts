import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { leaseEndOf } from "../../src/runs/lease-end.ts";

/** Every event of the client's workspace up to a position, in log order. */
export async function allEvents(client: SignalboxClient, minPosition: bigint): Promise<Event[]> {
  const events: Event[] = [];
  for (let afterPosition = 0n; ;) {
    const page = await client.events.listEvents({ afterPosition, minPosition, pageSize: 200 });
    events.push(...page.events);
    if (page.events.length === 0 || page.complete) return events;
    afterPosition = page.nextPosition;
  }
}

/** The most runs that a worker had at the same time, by group: what `groupOf` says of the event that created the run. */
export function mostAtOnce(events: readonly Event[], groupOf: (created: Event) => string): Map<string, number> {
  const groups = new Map<string, string>();
  const running = new Map<string, Set<string>>();
  const most = new Map<string, number>();
  for (const event of events) {
    const runId = event.stream?.id ?? "";
    if (event.payload.case === "runCreated") groups.set(runId, groupOf(event));
    const group = groups.get(runId);
    if (group === undefined) continue;
    const now = running.get(group) ?? new Set();
    if (leaseEndOf(event) !== undefined) now.delete(runId);
    if (event.payload.case === "runClaimed") now.add(runId);
    running.set(group, now);
    most.set(group, Math.max(most.get(group) ?? 0, now.size));
  }
  return most;
}

/** The most runs that began within any stretch of time. */
export function mostBegun(events: readonly Event[], periodMs: number): number {
  const times = events.flatMap(({ payload, createTime }) =>
    payload.case === "runClaimed" && payload.value.attempt === 1 && createTime ? [timestampMs(createTime)] : [],
  );
  return Math.max(...times.map((from) => times.filter((time) => time >= from && time < from + periodMs).length));
}
