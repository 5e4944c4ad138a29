import type { CreateRunRequest } from "../../../gen/signalbox/v1/run_service_pb.ts";
import { CatchUpSchema, type Schedule, ScheduleStatusSchema } from "../../../gen/signalbox/v1/schedule_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { budgetText, retryPolicyText, spanText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { labelsText, principalText, shorten, shortJson, timeText } from "./values.ts";

/** Schedules below each other, one line each. */
export function scheduleTable(schedules: readonly Schedule[]): string {
  return table(
    ["SCHEDULE", "STATUS", "NAME", "CRON", "ZONE", "NEXT", "LAST"],
    schedules.map((schedule) => [
      schedule.scheduleId,
      enumName(ScheduleStatusSchema, schedule.status),
      shorten(schedule.name, 40),
      schedule.cron,
      schedule.timeZone,
      timeText(schedule.nextTime),
      schedule.lastError === "" ? timeText(schedule.lastTime) : `${timeText(schedule.lastTime)}, failed`,
    ]),
  );
}

/** Everything that people want to know about a schedule. */
export function scheduleView(schedule: Schedule): string {
  const { run } = schedule;
  return fields([
    ["schedule", schedule.scheduleId],
    ["name", shorten(schedule.name, 500)],
    ["status", enumName(ScheduleStatusSchema, schedule.status)],
    ["cron", schedule.cron],
    ["zone", schedule.timeZone],
    ["catch up", enumName(CatchUpSchema, schedule.catchUp)],
    ["next", timeText(schedule.nextTime)],
    ["last", timeText(schedule.lastTime)],
    ["last run", schedule.lastRunId],
    ["error", shorten(schedule.lastError, 2_000)],
    ...(run === undefined ? [] : runPairs(run)),
    ["etag", schedule.etag],
    ["created", `${timeText(schedule.createTime)} by ${principalText(schedule.createBy)}`],
    ["changed", timeText(schedule.updateTime)],
    ["position", String(schedule.position)],
  ]);
}

/** What its runs are created with. */
function runPairs(run: CreateRunRequest): (readonly [string, string])[] {
  return [
    ["handler", run.handler],
    ["agent", run.agentId],
    ["input", shortJson(run.input, 2_000)],
    ["session", run.sessionId],
    ["room", run.roomId],
    ["queue", run.queue],
    ["priority", run.priority === 0 ? "" : String(run.priority)],
    ["key", run.concurrencyKey],
    ["labels", labelsText(run.labels)],
    ["longest", run.maxDuration === undefined ? "" : spanText(run.maxDuration)],
    ["retry", retryPolicyText(run.retryPolicy)],
    ["budget", budgetText(run.budget)],
  ];
}
