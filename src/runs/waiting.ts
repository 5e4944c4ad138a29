import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { WaitingOn, WakeCondition } from "../../gen/signalbox/v1/run_pb.ts";

/** What is left to wait for after a child has ended; undefined when a condition holds now, so that the wait is over. Pure. */
export function afterChildEnd(waitingOn: WaitingOn, childRunId: string): WaitingOn | undefined {
  const conditions: WakeCondition[] = [];
  for (const each of waitingOn.conditions) {
    const { condition } = each;
    if (condition.case !== "children" || !condition.value.runIds.includes(childRunId)) {
      conditions.push(each);
      continue;
    }
    const runIds = condition.value.runIds.filter((id) => id !== childRunId);
    if (runIds.length === 0) return undefined;
    conditions.push({ ...each, condition: { case: "children", value: { ...condition.value, runIds } } });
  }
  return { ...waitingOn, conditions };
}

/** True when a thread's message with this number is one that is waited for. Pure. */
export function endsWait({ conditions }: WaitingOn, threadId: string, number: number): boolean {
  return conditions.some(
    ({ condition }) =>
      condition.case === "message" && condition.value.threadId === threadId && number > condition.value.afterNumber,
  );
}

/** The earliest time that is waited for; undefined when none is. Pure. */
export function wakeTimeOf(waitingOn: WaitingOn | undefined): Timestamp | undefined {
  let earliest: Timestamp | undefined;
  for (const { condition } of waitingOn?.conditions ?? []) {
    if (condition.case !== "time") continue;
    if (earliest === undefined || timestampMs(condition.value) < timestampMs(earliest)) earliest = condition.value;
  }
  return earliest;
}

/** The child runs that are waited for, each once. Pure. */
export function awaitedRunIds(waitingOn: WaitingOn | undefined): string[] {
  return awaitedIn(waitingOn?.conditions ?? []);
}

/** The approvals that are waited for. Pure. */
export function awaitedApprovals(waitingOn: WaitingOn | undefined): string[] {
  return (waitingOn?.conditions ?? []).flatMap(({ condition }) =>
    condition.case === "approval" ? [condition.value.approvalId] : [],
  );
}

/** The child runs that conditions name, each once. Pure. */
export function awaitedIn(conditions: readonly WakeCondition[]): string[] {
  const ids = new Set<string>();
  for (const { condition } of conditions) {
    if (condition.case === "children") for (const id of condition.value.runIds) ids.add(id);
  }
  return [...ids];
}
