import type { ConnectRouter } from "@connectrpc/connect";
import { ScheduleService } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Schedules } from "./schedules.ts";

/** Serves ScheduleService. */
export function scheduleRoutes(router: ConnectRouter, schedules: Schedules): void {
  router.service(ScheduleService, {
    createSchedule: (request, context) => schedules.create(callOf(context), request),
    getSchedule: async ({ scheduleId }, context) => ({ schedule: await schedules.get(callOf(context), scheduleId) }),
    updateSchedule: (request, context) => schedules.update(callOf(context), request),
    archiveSchedule: ({ scheduleId }, context) => schedules.archive(callOf(context), scheduleId),
    triggerSchedule: (request, context) => schedules.trigger(callOf(context), request),
    listSchedules: (request, context) => schedules.list(callOf(context), request),
  });
}
