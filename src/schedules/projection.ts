import { timestampDate } from "@bufbuild/protobuf/wkt";
import { ScheduleSchema } from "../../gen/signalbox/v1/schedule_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveSchedule } from "./resource.ts";

/** The tables of this noun. */
export const scheduleProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "schedules",
    idColumn: "schedule_id",
    schema: ScheduleSchema,
    columns: [
      { name: "status", type: "smallint", value: (schedule) => schedule.status },
      { name: "next_time", type: "timestamptz", value: ({ nextTime }) => (nextTime ? timestampDate(nextTime) : null) },
    ],
    idsOf: ({ stream }) => (stream?.type === "schedule" ? [stream.id] : []),
    evolve: evolveSchedule,
  }),
];
