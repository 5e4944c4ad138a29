import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Schedule, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveSchedule } from "./resource.ts";

/** A schedule that exists. */
export interface KnownSchedule {
  readonly schedule: Schedule;
  /** SHA-256 of the creating request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
}

/** What decisions about a schedule rest on. */
export type ScheduleState =
  | { readonly status: "absent" }
  | (KnownSchedule & { readonly status: "active" | "paused" | "archived" });

/** Schedules as aggregates. */
export const scheduleAggregate: AggregateDefinition<ScheduleState> = {
  type: "schedule",
  initial: { status: "absent" },
  evolve: evolveScheduleState,
};

/** The state after one more event. Pure. */
export function evolveScheduleState(state: ScheduleState, event: Event): ScheduleState {
  const before = state.status === "absent" ? undefined : state;
  const schedule = evolveSchedule(before?.schedule, event);
  if (schedule === undefined) return state;
  const { payload } = event;
  return {
    status: statusOf(schedule),
    schedule,
    requestDigest:
      payload.case === "scheduleCreated" ? payload.value.requestDigest : (before?.requestDigest ?? new Uint8Array()),
  };
}

function statusOf({ scheduleId, status }: Schedule): Exclude<ScheduleState["status"], "absent"> {
  switch (status) {
    case ScheduleStatus.ACTIVE:
      return "active";
    case ScheduleStatus.PAUSED:
      return "paused";
    case ScheduleStatus.ARCHIVED:
      return "archived";
    case ScheduleStatus.UNSPECIFIED:
    default:
      throw new Error(`schedule ${scheduleId} has status ${status}, which this program does not know`);
  }
}
