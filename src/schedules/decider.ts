import { create, equals } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  ScheduleArchivedSchema,
  ScheduleCreatedSchema,
  ScheduleUpdatedSchema,
} from "../../gen/signalbox/v1/schedule_event_pb.ts";
import { CatchUp, type Schedule, ScheduleSchema, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { CreateScheduleRequest } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { calendarOf } from "./calendar.ts";
import type { ScheduleState } from "./state.ts";
import { templateOf } from "./template.ts";

/** A creating request and what the edge knows about it. */
export interface NewSchedule {
  readonly scheduleId: string;
  readonly request: CreateScheduleRequest;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** New values for some fields of a schedule. */
export interface ScheduleChange {
  /** Names the schedule, holds the values, and an etag unless the change may overwrite. */
  readonly schedule: Schedule;
  /** The fields to take, as the contract names them. */
  readonly paths: readonly string[];
}

/**
 * schedule.created, to fire at the first time after `now`; nothing when the same request created it before.
 * REQUEST_ID_REUSED when another one did, INVALID_REQUEST for a cron, a zone or a run that is none.
 */
export function createSchedule(
  state: ScheduleState,
  { scheduleId, request, requestDigest }: NewSchedule,
  now: Date,
): Draft | undefined {
  if (state.status !== "absent") {
    if (equalBytes(state.requestDigest, requestDigest)) return undefined;
    throw new SignalboxError(
      "REQUEST_ID_REUSED",
      `request_id ${JSON.stringify(request.requestId)} has created ${scheduleId} with another body; use a new request_id`,
      { schedule_id: scheduleId },
    );
  }
  const settings = create(ScheduleSchema, {
    name: named(request.name),
    status: ScheduleStatus.ACTIVE,
    cron: request.cron,
    timeZone: zoneNameOf(request),
    catchUp: catchUpOf(request),
    run: templateOf(request.run, scheduleId),
  });
  const schedule = { ...settings, nextTime: nextTimeOf(settings, now) };
  const value = create(ScheduleCreatedSchema, { schedule, requestDigest });
  return { payload: { case: "scheduleCreated", value }, zone: zoneOf(schedule) };
}

/**
 * schedule.updated; nothing when the schedule has these values already, whatever its etag, so that an update may be
 * repeated. A change of its clock or a new start counts from `now`: no time before it fires. SCHEDULE_NOT_FOUND,
 * INVALID_STATE when it is archived, ETAG_MISMATCH, INVALID_REQUEST for a field that can not be set so.
 */
export function updateSchedule(
  state: ScheduleState,
  { schedule: wanted, paths }: ScheduleChange,
  now: Date,
): Draft | undefined {
  const schedule = requireOpen(state, wanted.scheduleId);
  const before = settingsOf(schedule);
  const after = create(ScheduleSchema, { ...before, ...taken(wanted, paths) });
  if (equals(ScheduleSchema, before, after)) return undefined;
  requireEtag(schedule, wanted.etag);
  const sameClock = (["cron", "timeZone", "status"] as const).every((name) => before[name] === after[name]);
  const nextTime = sameClock ? schedule.nextTime : nextTimeOf(after, now);
  const value = create(ScheduleUpdatedSchema, { schedule: { ...after, nextTime } });
  return { payload: { case: "scheduleUpdated", value }, zone: zoneOf(after) };
}

/** schedule.archived; nothing when it is archived already. SCHEDULE_NOT_FOUND. */
export function archiveSchedule(state: ScheduleState, scheduleId: string): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw scheduleNotFound(scheduleId);
    case "archived":
      return undefined;
    case "active":
    case "paused":
      return {
        payload: { case: "scheduleArchived", value: create(ScheduleArchivedSchema) },
        zone: zoneOf(state.schedule),
      };
  }
}

/** The schedule, which may still be used. SCHEDULE_NOT_FOUND, INVALID_STATE when it is archived. */
export function requireOpen(state: ScheduleState, scheduleId: string): Schedule {
  switch (state.status) {
    case "absent":
      throw scheduleNotFound(scheduleId);
    case "archived":
      throw new SignalboxError("INVALID_STATE", `schedule ${scheduleId} is archived for good; create a new one`, {
        status: state.status,
      });
    case "active":
    case "paused":
      return state.schedule;
  }
}

/** Unknown ids and ids of another tenant look the same. */
export function scheduleNotFound(scheduleId: string): SignalboxError {
  return new SignalboxError("SCHEDULE_NOT_FOUND", `schedule ${scheduleId} does not exist in this workspace`);
}

/** The zone of the runs that a schedule creates, and so of its events. */
export function zoneOf({ run }: Pick<Schedule, "run">): Zone {
  return run?.zone || Zone.SANDBOX;
}

/** How each field that an update may name is read from the request. */
const fields = {
  name: ({ name }) => ({ name: named(name) }),
  status: ({ status }) => ({ status: settable(status) }),
  cron: ({ cron }) => ({ cron }),
  time_zone: (schedule) => ({ timeZone: zoneNameOf(schedule) }),
  catch_up: (schedule) => ({ catchUp: catchUpOf(schedule) }),
  run: ({ run, scheduleId }) => ({ run: templateOf(run, scheduleId) }),
} as const satisfies Record<string, (schedule: Schedule) => Partial<Schedule>>;

const fieldNames = Object.keys(fields).join(", ");

function taken(schedule: Schedule, paths: readonly string[]): Partial<Schedule> {
  if (paths.length === 0) {
    throw new SignalboxError("INVALID_REQUEST", `update_mask is empty: name at least one of ${fieldNames}`);
  }
  return Object.assign({}, ...paths.map((path) => fieldOf(path)(schedule))) as Partial<Schedule>;
}

function fieldOf(path: string): (schedule: Schedule) => Partial<Schedule> {
  if (Object.hasOwn(fields, path)) return fields[path as keyof typeof fields];
  // The contract's rule lets the parts of a field pass, such as run.handler.
  throw new SignalboxError(
    "INVALID_REQUEST",
    `update_mask names ${JSON.stringify(path)}, but only whole fields can be set: ${fieldNames}`,
  );
}

function settingsOf({ name, status, cron, timeZone, catchUp, run }: Schedule): Schedule {
  return create(ScheduleSchema, { name, status, cron, timeZone, catchUp, run });
}

function nextTimeOf({ cron, timeZone, status }: Schedule, now: Date) {
  const next = calendarOf(cron, timeZone).next(now);
  return status === ScheduleStatus.ACTIVE && next !== undefined ? timestampFromDate(next) : undefined;
}

function requireEtag({ scheduleId, etag }: Schedule, read: string): void {
  if (read === "" || read === etag) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `schedule ${scheduleId} has changed since etag ${JSON.stringify(read)} was read; read it again and repeat the change`,
    { etag },
  );
}

function named(name: string): string {
  if (name !== "") return name;
  throw new SignalboxError("INVALID_REQUEST", "name is empty: give the schedule a name of 1 to 500 characters");
}

function settable(status: ScheduleStatus): ScheduleStatus {
  if (status === ScheduleStatus.ACTIVE || status === ScheduleStatus.PAUSED) return status;
  throw new SignalboxError(
    "INVALID_REQUEST",
    "status can be set to SCHEDULE_STATUS_ACTIVE or SCHEDULE_STATUS_PAUSED; to archive a schedule call ArchiveSchedule",
  );
}

function zoneNameOf({ timeZone }: Pick<Schedule, "timeZone">): string {
  return timeZone === "" ? "UTC" : timeZone;
}

function catchUpOf({ catchUp }: Pick<Schedule, "catchUp">): CatchUp {
  return catchUp === CatchUp.UNSPECIFIED ? CatchUp.LATEST : catchUp;
}
