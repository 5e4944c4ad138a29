import { create, toJson } from "@bufbuild/protobuf";
import { RunSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../../gen/signalbox/v1/run_service_pb.ts";
import { CatchUp, type Schedule, ScheduleSchema, ScheduleStatus } from "../../../gen/signalbox/v1/schedule_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type {
  CreateScheduleOptions,
  ListSchedulesOptions,
  ScheduleOptions,
  TriggerScheduleOptions,
  UpdateScheduleOptions,
} from "../commands/schedules.ts";
import { given } from "../given.ts";
import { scheduleTable, scheduleView } from "../views/schedule-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { type RunTemplate, templateOf } from "./run-template.ts";

const statusOf = {
  active: ScheduleStatus.ACTIVE,
  paused: ScheduleStatus.PAUSED,
  archived: ScheduleStatus.ARCHIVED,
} as const satisfies Record<NonNullable<ListSchedulesOptions["status"]>[number], ScheduleStatus>;

const catchUpOf = {
  skip: CatchUp.SKIP,
  latest: CatchUp.LATEST,
  all: CatchUp.ALL,
} as const satisfies Record<NonNullable<ScheduleOptions["catchUp"]>, CatchUp>;

/** `signalbox schedules create`. */
export async function createSchedule(cli: Cli, options: CreateScheduleOptions): Promise<ExitCode> {
  const { name, cron, handler, agent, requestId = "" } = options;
  if ((handler === undefined) === (agent === undefined)) throw targetError();
  const run = await runOf(options);
  using client = openClient(cli);
  const request = { ...clockOf(options), name, cron, run, requestId };
  return show(cli, (await client.schedules.createSchedule(request, { signal: cli.signal })).schedule);
}

/** `signalbox schedules update`: what is not given stays as it is, of the run as well. */
export async function updateSchedule(
  cli: Cli,
  scheduleId: string,
  { etag, ...options }: UpdateScheduleOptions,
): Promise<ExitCode> {
  if (Object.keys(options).length === 0) {
    throw usageError("nothing to change was given", "signalbox schedules update --help lists what can be changed.");
  }
  if (options.handler !== undefined && options.agent !== undefined) throw targetError();
  const { name, cron } = options;
  using client = openClient(cli);
  const { schedule: before } = await client.schedules.getSchedule({ scheduleId }, { signal: cli.signal });
  const template = await runOf(options, before?.run);
  const isSame = Object.keys(template).length === 0;
  const run = isSame ? undefined : { ...(before?.run ?? create(CreateRunRequestSchema)), ...template };
  const changes = { ...given({ name, cron, run }), ...clockOf(options) };
  return await update(client, cli, { scheduleId, etag: etag ?? before?.etag ?? "" }, changes);
}

/** `signalbox schedules pause`. */
export async function pauseSchedule(cli: Cli, scheduleId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return await update(client, cli, { scheduleId }, { status: ScheduleStatus.PAUSED });
}

/** `signalbox schedules resume`. */
export async function resumeSchedule(cli: Cli, scheduleId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return await update(client, cli, { scheduleId }, { status: ScheduleStatus.ACTIVE });
}

/** `signalbox schedules archive`. */
export async function archiveSchedule(cli: Cli, scheduleId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.schedules.archiveSchedule({ scheduleId }, { signal: cli.signal })).schedule);
}

/** `signalbox schedules trigger`. */
export async function triggerSchedule(
  cli: Cli,
  scheduleId: string,
  { requestId = "" }: TriggerScheduleOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const { run } = await client.schedules.triggerSchedule({ scheduleId, requestId }, { signal: cli.signal });
  if (run === undefined) throw new Error("the server answered without a run");
  cli.output.show(toJson(RunSchema, run), run.runId);
  return exitCodes.ok;
}

/** `signalbox schedules get`. */
export async function getSchedule(cli: Cli, scheduleId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.schedules.getSchedule({ scheduleId }, { signal: cli.signal })).schedule);
}

/** `signalbox schedules ls`. */
export async function listSchedules(cli: Cli, { status = [], limit }: ListSchedulesOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const statuses = status.map((name) => statusOf[name]);
  const schedules: Schedule[] = await pages(limit, async (page) => {
    const response = await client.schedules.listSchedules({ statuses, ...page }, { signal: cli.signal });
    return { items: response.schedules, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, schedules, (schedule) => toJson(ScheduleSchema, schedule), scheduleTable);
  return exitCodes.ok;
}

/** The fields that an update may name, as the contract calls them. */
const maskOf = {
  name: "name",
  status: "status",
  cron: "cron",
  timeZone: "time_zone",
  catchUp: "catch_up",
  run: "run",
} as const;

type Changes = Partial<Pick<Schedule, keyof typeof maskOf>>;

async function update(
  client: SignalboxClient,
  cli: Cli,
  schedule: { readonly scheduleId: string; readonly etag?: string },
  changes: Changes,
): Promise<ExitCode> {
  const paths = (Object.keys(changes) as (keyof Changes)[]).map((field) => maskOf[field]);
  const request = { schedule: { ...schedule, ...changes }, updateMask: { paths } };
  return show(cli, (await client.schedules.updateSchedule(request, { signal: cli.signal })).schedule);
}

function clockOf({ timeZone, catchUp }: ScheduleOptions): Pick<Changes, "timeZone" | "catchUp"> {
  return given({ timeZone, catchUp: catchUp && catchUpOf[catchUp] });
}

/** What the options say of the run. A handler takes the place of an agent, and the other way round. */
async function runOf(options: ScheduleOptions, before?: Schedule["run"]): Promise<RunTemplate & { handler?: string }> {
  const { handler, agent } = options;
  const template = await templateOf(options, before);
  if (handler !== undefined) return { ...template, handler, agentId: "" };
  return agent === undefined ? template : { ...template, handler: "" };
}

function targetError(): CliError {
  return usageError(
    "give --handler or --agent, and one of them only",
    'For example: signalbox schedules create --name Report --cron "0 7 * * *" --handler report',
  );
}

function show({ output }: Cli, schedule: Schedule | undefined): ExitCode {
  if (schedule === undefined) throw new Error("the server answered without a schedule");
  output.show(toJson(ScheduleSchema, schedule), scheduleView(schedule));
  return exitCodes.ok;
}
