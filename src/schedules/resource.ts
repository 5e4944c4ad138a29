import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { ScheduleFired } from "../../gen/signalbox/v1/schedule_event_pb.ts";
import { type Schedule, ScheduleSchema, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";

/** The schedule after an event of its stream; undefined until it is created. Pure. */
export function evolveSchedule(schedule: Schedule | undefined, event: Event): Schedule | undefined {
  const { payload, position } = event;
  if (payload.case === "scheduleCreated") {
    const { workspaceId, createTime, actor } = event;
    const scheduleId = event.stream?.id ?? "";
    return changed({ ...settled(payload.value.schedule), scheduleId, workspaceId, createTime, createBy: actor }, event);
  }
  if (schedule === undefined) return undefined;
  if (payload.case === "scheduleUpdated") {
    const { name, status, cron, timeZone, catchUp, run, nextTime } = settled(payload.value.schedule);
    return changed({ ...schedule, name, status, cron, timeZone, catchUp, run, nextTime }, event);
  }
  if (payload.case === "scheduleFired") return { ...schedule, ...firedBy(payload.value), position };
  if (payload.case === "scheduleArchived") {
    return changed({ ...schedule, status: ScheduleStatus.ARCHIVED, nextTime: undefined }, event);
  }
  return schedule;
}

function settled(schedule: Schedule | undefined): Schedule {
  return schedule ?? create(ScheduleSchema);
}

/** What a firing leaves behind. Times that only passed change nothing but what comes next. */
function firedBy({ time, runId, error, nextTime }: ScheduleFired): Partial<Schedule> {
  if (runId !== "") return { nextTime, lastTime: time, lastRunId: runId, lastError: "" };
  if (error !== "") return { nextTime, lastTime: time, lastError: error };
  return { nextTime };
}

/** The schedule with what every change of its settings moves on. */
function changed(schedule: Schedule, event: Event): Schedule {
  return { ...schedule, updateTime: event.createTime, etag: String(event.streamSequence), position: event.position };
}
