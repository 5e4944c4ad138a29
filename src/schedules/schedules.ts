import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Schedule } from "../../gen/signalbox/v1/schedule_pb.ts";
import {
  type CreateScheduleRequest,
  CreateScheduleRequestSchema,
  type ListSchedulesRequest,
  type TriggerScheduleRequest,
  type UpdateScheduleRequest,
} from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { archiveSchedule, createSchedule, requireOpen, scheduleNotFound, updateSchedule } from "./decider.ts";
import { planFiring, recordFiring } from "./firing.ts";
import { listSchedules } from "./queries.ts";
import { actingFor, attempt, createOnce, type RunAt, type ScheduledRuns } from "./scheduled-runs.ts";
import { scheduleAggregate, type ScheduleState } from "./state.ts";
import { scheduleLabel } from "./template.ts";

/** A schedule after a command, and where the log stood then. */
export interface ScheduleAnswer {
  readonly schedule: Schedule;
  readonly position: bigint;
}

/** The schedules of all workspaces; every call sees its own workspace only. */
export interface Schedules {
  /** Creates an active schedule. REQUEST_ID_REUSED, INVALID_REQUEST, PAYLOAD_TOO_LARGE. */
  create(call: Call, request: CreateScheduleRequest): Promise<ScheduleAnswer>;
  /** The schedule as it is now. SCHEDULE_NOT_FOUND. */
  get(call: Call, scheduleId: string): Promise<Schedule>;
  /** Changes the fields that the mask names. SCHEDULE_NOT_FOUND, INVALID_STATE, ETAG_MISMATCH, INVALID_REQUEST. */
  update(call: Call, request: UpdateScheduleRequest): Promise<ScheduleAnswer>;
  /** Archives the schedule for good; twice is fine. SCHEDULE_NOT_FOUND. */
  archive(call: Call, scheduleId: string): Promise<ScheduleAnswer>;
  /** Creates one run of the schedule now. SCHEDULE_NOT_FOUND, INVALID_STATE, and what CreateRun refuses. */
  trigger(call: Call, request: TriggerScheduleRequest): Promise<RunAt>;
  /** A page of schedules, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListSchedulesRequest): Promise<{ schedules: Schedule[]; nextPageToken: string }>;
  /**
   * Does what is due of a schedule, one run at most; nothing when nothing is. Repeating it after a crash gives the same
   * run. Returns the position of the schedule's newest event. Throws when the run may or may not have been created.
   */
  fire(workspaceId: string, scheduleId: string, signal: AbortSignal): Promise<bigint>;
}

/** What schedules need. */
export interface SchedulesDeps extends AggregatesDeps {
  readonly runs: ScheduledRuns;
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly limits: Limits;
}

/** The schedules on a log and its read models. */
export function createSchedules({ runs, db, positions, limits, ...deps }: SchedulesDeps): Schedules {
  const { clock, ids } = deps;
  const aggregates = createAggregates(scheduleAggregate, deps);

  async function create(call: Call, request: CreateScheduleRequest): Promise<ScheduleAnswer> {
    requireStorable("run.input", request.run?.input, limits.maxInputBytes);
    const { requestId } = request;
    const repeatable = requestId !== "";
    const id = repeatable ? derivedId("sch", call.workspaceId, "CreateSchedule", requestId) : ids.next("sch");
    const digest = repeatable ? requestDigest(CreateScheduleRequestSchema, request) : new Uint8Array();
    const decide = (state: ScheduleState, now: Date) =>
      createSchedule(state, { scheduleId: id, request, requestDigest: digest }, now);
    return answer(await aggregates.execute({ call, id, creation: { roomId: "", repeatable }, decide }), id);
  }

  async function update(call: Call, { schedule, updateMask }: UpdateScheduleRequest): Promise<ScheduleAnswer> {
    if (schedule === undefined) {
      throw new SignalboxError("INVALID_REQUEST", "schedule is missing: name the one to change");
    }
    requireStorable("schedule.run.input", schedule.run?.input, limits.maxInputBytes);
    const change = { schedule, paths: updateMask?.paths ?? [] };
    const decide = (state: ScheduleState, now: Date) => updateSchedule(state, change, now);
    return answer(await aggregates.execute({ call, id: schedule.scheduleId, decide }), schedule.scheduleId);
  }

  async function trigger(call: Call, { scheduleId, requestId }: TriggerScheduleRequest): Promise<RunAt> {
    const runRequestId = requestId === "" ? "" : `schedule-trigger/${requestId}`;
    if (runRequestId !== "") {
      // A repeat answers the run whatever has become of the schedule since.
      const run = await runs.createdBy(call.workspaceId, runRequestId);
      if (run !== undefined) return repeated(run, scheduleId, requestId);
    }
    const { state } = await aggregates.load(call.workspaceId, scheduleId);
    const { run } = await createOnce(runs, call, runOf(requireOpen(state, scheduleId), runRequestId));
    return repeated(run, scheduleId, requestId);
  }

  async function fire(workspaceId: string, scheduleId: string, signal: AbortSignal): Promise<bigint> {
    const { state, position } = await aggregates.load(workspaceId, scheduleId);
    const firing = planFiring(state, clock.now());
    if (firing === undefined || state.status === "absent") return position;
    const principal = actingFor(state.schedule.createBy);
    const call = { workspaceId, principal, correlationId: ids.next("corr"), traceparent: "", signal };
    const requestId = `schedule/${scheduleId}/${firing.time.toISOString()}`;
    const outcome = firing.fires ? await attempt(runs, call, runOf(state.schedule, requestId)) : undefined;
    const decide = (current: ScheduleState) => recordFiring(current, firing, outcome);
    return (await aggregates.execute({ call, id: scheduleId, decide })).position;
  }

  return {
    create,
    update,
    trigger,
    fire,
    async get({ workspaceId }, scheduleId) {
      const { state } = await aggregates.load(workspaceId, scheduleId);
      if (state.status === "absent") throw scheduleNotFound(scheduleId);
      return state.schedule;
    },
    async archive(call, scheduleId) {
      const decide = (state: ScheduleState) => archiveSchedule(state, scheduleId);
      return answer(await aggregates.execute({ call, id: scheduleId, decide }), scheduleId);
    },
    async list({ workspaceId, signal }, { statuses, pageSize, pageToken, minPosition }) {
      const page = readPage("schedules", [workspaceId, statuses], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listSchedules(db, { workspaceId, statuses, page });
      return { schedules: items, nextPageToken };
    },
  };
}

function answer({ state, position }: Loaded<ScheduleState>, scheduleId: string): ScheduleAnswer {
  if (state.status === "absent") throw scheduleNotFound(scheduleId);
  return { schedule: state.schedule, position };
}

function runOf({ scheduleId, run }: Schedule, requestId: string): CreateRunRequest {
  if (run === undefined) throw new Error(`schedule ${scheduleId} has no run to create`);
  return { ...run, requestId };
}

/** The run of a trigger, if it is of this schedule: the same request_id may have triggered another one. */
function repeated(run: Run, scheduleId: string, requestId: string): RunAt {
  if (run.labels[scheduleLabel] === scheduleId) return { run, position: run.position };
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `request_id ${JSON.stringify(requestId)} has triggered another schedule; use a new request_id`,
    { run_id: run.runId },
  );
}
