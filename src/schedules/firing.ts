import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { ScheduleFiredSchema } from "../../gen/signalbox/v1/schedule_event_pb.ts";
import { CatchUp, type Schedule } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { calendarOf } from "./calendar.ts";
import { zoneOf } from "./decider.ts";
import type { ScheduleState } from "./state.ts";

/** Times dealt with in one firing, some 20 ms: a hundred schedules may be planned in a row, with nobody else getting a turn. */
const maxTimes = 1_000;
/** With CATCH_UP_ALL, the newest times that still fire. */
const maxCaughtUp = 100;
/** With CATCH_UP_SKIP, how old a time may be that still fires. */
const punctualMs = 60_000;

/** Times that have come, and what to do about them. */
export interface Firing {
  /** The schedule's next_time, which has come. */
  readonly dueTime: Date;
  /** The newest time that is dealt with. */
  readonly time: Date;
  /** Whether a run is created for it. */
  readonly fires: boolean;
  /** How many times before it pass without a run. */
  readonly skipped: number;
  /** When the schedule fires next, which may be past as well; undefined for never. */
  readonly nextTime: Date | undefined;
}

/** What came of a firing: the run, or why there is none; neither when the times only passed. */
export type Outcome = { readonly runId: string } | { readonly error: string } | undefined;

/** What is due of a schedule, one run at most; undefined when nothing is. Pure. */
export function planFiring(state: ScheduleState, now: Date): Firing | undefined {
  if (state.status !== "active" || state.schedule.nextTime === undefined) return undefined;
  const { cron, timeZone, nextTime } = state.schedule;
  const calendar = calendarOf(cron, timeZone);
  const times: Date[] = [];
  let following: Date | undefined = timestampDate(nextTime);
  while (following !== undefined && following <= now && times.length < maxTimes) {
    times.push(following);
    following = calendar.next(following);
  }
  const [dueTime] = times;
  if (dueTime === undefined) return undefined;
  const complete = following === undefined || following > now;
  const { index, fires } = choose(state.schedule, times, complete, now);
  return { dueTime, time: times[index] ?? dueTime, fires, skipped: index, nextTime: times[index + 1] ?? following };
}

/** Which of the times is the next to deal with; the ones before it are skipped. `complete` when no more have come. */
function choose(
  { scheduleId, catchUp }: Schedule,
  times: readonly Date[],
  complete: boolean,
  now: Date,
): { index: number; fires: boolean } {
  const last = times.length - 1;
  switch (catchUp) {
    case CatchUp.SKIP: {
      const index = times.findIndex((time) => now.getTime() - time.getTime() < punctualMs);
      return index === -1 ? { index: last, fires: false } : { index, fires: true };
    }
    case CatchUp.LATEST:
      return { index: last, fires: complete };
    case CatchUp.ALL:
      if (!complete) return { index: last - maxCaughtUp, fires: false };
      return { index: Math.max(times.length - maxCaughtUp, 0), fires: true };
    case CatchUp.UNSPECIFIED:
    default:
      throw new Error(`schedule ${scheduleId} has catch-up policy ${catchUp}, which this program does not know`);
  }
}

/**
 * schedule.fired; nothing when the schedule is archived or the firing is on record. A run that was created while somebody
 * changed the schedule is recorded as well; the change then says what comes next. Pure.
 */
export function recordFiring(state: ScheduleState, firing: Firing, outcome: Outcome): Draft | undefined {
  if (state.status === "absent" || state.status === "archived") return undefined;
  const { schedule } = state;
  const { time, skipped } = firing;
  const asPlanned = schedule.nextTime !== undefined && timestampMs(schedule.nextTime) === firing.dueTime.getTime();
  const onRecord = schedule.lastTime !== undefined && timestampMs(schedule.lastTime) >= time.getTime();
  if (!asPlanned && (outcome === undefined || onRecord)) return undefined;
  const planned = firing.nextTime && timestampFromDate(firing.nextTime);
  const value = create(ScheduleFiredSchema, {
    ...outcome,
    time: timestampFromDate(time),
    skipped,
    nextTime: asPlanned ? planned : schedule.nextTime,
  });
  return { payload: { case: "scheduleFired", value }, zone: zoneOf(schedule) };
}
