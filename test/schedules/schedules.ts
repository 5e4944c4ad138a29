import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { type Schedule, ScheduleSchema } from "../../gen/signalbox/v1/schedule_pb.ts";
import { CreateScheduleRequestSchema } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import type { Call } from "../../src/kernel/call.ts";
import { createSchedule, updateSchedule } from "../../src/schedules/decider.ts";
import { evolveScheduleState, type ScheduleState } from "../../src/schedules/state.ts";

/** The schedule of these tests. */
export const scheduleId = "sch_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** A schedule that nobody has created. */
export const absent: ScheduleState = { status: "absent" };

/** The digest of the request that `created` was made with. */
export const digest = new Uint8Array([1, 2, 3]);

type CreateFields = Exclude<MessageInitShape<typeof CreateScheduleRequestSchema>, Message>;

/** A call by a user of the workspace. */
export function callTo(workspaceId = "ws_one"): Call {
  return {
    workspaceId,
    principal: create(PrincipalSchema, { type: PrincipalType.USER, id: "user_1" }),
    correlationId: "corr_1",
    traceparent: "",
    signal: AbortSignal.timeout(10_000),
  };
}

/** A creating request: hourly, unless told otherwise. */
export function creating(fields: CreateFields = {}) {
  return create(CreateScheduleRequestSchema, { name: "Tick", cron: "@hourly", run: { handler: "inspect" }, ...fields });
}

/** A time of the day on which these tests play, in UTC. */
export function at(time: string): Date {
  return new Date(`2026-05-04T${time}Z`);
}

/** The state after a decision, made at `now`, given the state before. */
export function after(state: ScheduleState, draft: Draft | undefined, now: Date = at("00:00:00")): ScheduleState {
  if (draft === undefined) throw new Error("nothing was decided");
  const position = state.status === "absent" ? 10n : state.schedule.position + 10n;
  return evolveScheduleState(
    state,
    create(EventSchema, {
      position,
      workspaceId: "ws_one",
      stream: { type: "schedule", id: scheduleId },
      streamSequence: position / 10n,
      actor: { type: PrincipalType.USER, id: "user_1" },
      createTime: timestampFromDate(now),
      payload: draft.payload,
    }),
  );
}

/** A schedule that was created at `now`. */
export function created(fields: CreateFields = {}, now: Date = at("00:00:00")): ScheduleState {
  return after(
    absent,
    createSchedule(absent, { scheduleId, request: creating(fields), requestDigest: digest }, now),
    now,
  );
}

/** The decision to change the fields that `paths` names. */
export function change(
  state: ScheduleState,
  paths: string[],
  fields: MessageInitShape<typeof ScheduleSchema>,
  now: Date = at("00:30:00"),
): Draft | undefined {
  return updateSchedule(state, { schedule: create(ScheduleSchema, { ...fields, scheduleId }), paths }, now);
}

/** The schedule of a state. */
export function scheduleOf(state: ScheduleState): Schedule {
  if (state.status === "absent") throw new Error("the schedule is absent");
  return state.schedule;
}
