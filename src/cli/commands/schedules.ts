import { type Command, Option } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption } from "../option-values.ts";
import { type RunTemplateOptions, templated } from "./run-template.ts";

const scheduleStatuses = ["active", "paused", "archived"] as const;
const catchUps = ["skip", "latest", "all"] as const;

/** Options that make up a schedule: its clock, and what its runs are created with. */
export interface ScheduleOptions extends RunTemplateOptions {
  readonly name?: string;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly catchUp?: (typeof catchUps)[number];
  readonly handler?: string;
}

/** Options of `schedules create`. */
export interface CreateScheduleOptions extends ScheduleOptions {
  readonly name: string;
  readonly cron: string;
  readonly requestId?: string;
}

/** Options of `schedules update`. */
export interface UpdateScheduleOptions extends ScheduleOptions {
  readonly etag?: string;
}

/** Options of `schedules ls`. */
export interface ListSchedulesOptions {
  readonly status?: readonly (typeof scheduleStatuses)[number][];
  readonly limit: number;
}

/** Options of `schedules trigger`. */
export interface TriggerScheduleOptions {
  readonly requestId?: string;
}

/** Adds `schedules`. */
export function addSchedules(program: Command, act: Act): void {
  const schedules = program.command("schedules").description("keep schedules, which create runs by the clock");
  addWriting(schedules, act);
  addReading(schedules, act);
  addStatuses(schedules, act);
  schedules
    .command("trigger <schedule-id>")
    .description("create one run of a schedule now, whatever its clock says")
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same run")
    .addHelpText("after", "\nPrints the id of the run.\n\nExamples:\n  $ signalbox schedules trigger sch_01J…")
    .action((scheduleId: string, options: TriggerScheduleOptions) =>
      act(async (cli) => (await import("../actions/schedules.ts")).triggerSchedule(cli, scheduleId, options)),
    );
}

function addWriting(schedules: Command, act: Act): void {
  clocked(
    schedules
      .command("create")
      .requiredOption("--name <text>", "what people call it")
      .requiredOption(
        "--cron <expression>",
        "when: minute, hour, day of month, month, day of week; or @hourly and its like",
      ),
  )
    .description("create a schedule, which is active at once")
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same schedule")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox schedules create --name "Morning report" --cron "0 7 * * 1-5" --time-zone Europe/Berlin --handler report
  $ signalbox schedules create --name Sweep --cron @hourly --agent agt_01J… --input "Sweep up." --catch-up skip`,
    )
    .action((options: CreateScheduleOptions) =>
      act(async (cli) => (await import("../actions/schedules.ts")).createSchedule(cli, options)),
    );
  clocked(
    schedules
      .command("update <schedule-id>")
      .option("--name <text>", "what people call it")
      .option("--cron <expression>", "when: minute, hour, day of month, month, day of week; or @hourly and its like"),
  )
    .description("change what is given, and nothing else")
    .option("--etag <etag>", "refuse when the schedule has changed since this etag was read")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox schedules update sch_01J… --cron "30 6 * * *"
  $ signalbox schedules update sch_01J… --input '{"depth":2}' --queue slow`,
    )
    .action((scheduleId: string, options: UpdateScheduleOptions) =>
      act(async (cli) => (await import("../actions/schedules.ts")).updateSchedule(cli, scheduleId, options)),
    );
}

function clocked(command: Command): Command {
  const timed = command
    .option("--time-zone <zone>", "the zone that cron is read in, for example Europe/Berlin (default: UTC)")
    .addOption(
      new Option("--catch-up <rule>", "what becomes of times that passed while Signalbox was down").choices(catchUps),
    )
    .option("--handler <name>", "the worker handler that its runs go to");
  return templated(timed);
}

function addReading(schedules: Command, act: Act): void {
  schedules
    .command("ls")
    .alias("list")
    .description("list schedules, newest first")
    .option("--status <statuses>", `some of ${scheduleStatuses.join(", ")}`, choicesOption(scheduleStatuses))
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox schedules ls --status active")
    .action((options: ListSchedulesOptions) =>
      act(async (cli) => (await import("../actions/schedules.ts")).listSchedules(cli, options)),
    );
  schedules
    .command("get <schedule-id>")
    .description("show a schedule")
    .addHelpText("after", "\nExamples:\n  $ signalbox schedules get sch_01J…")
    .action((scheduleId: string) =>
      act(async (cli) => (await import("../actions/schedules.ts")).getSchedule(cli, scheduleId)),
    );
}

function addStatuses(schedules: Command, act: Act): void {
  const one = (name: string, description: string) =>
    schedules
      .command(`${name} <schedule-id>`)
      .description(description)
      .addHelpText("after", `\nExamples:\n  $ signalbox schedules ${name} sch_01J…`);
  one("pause", "let it fire no more until it is resumed; times that pass are not caught up").action(
    (scheduleId: string) =>
      act(async (cli) => (await import("../actions/schedules.ts")).pauseSchedule(cli, scheduleId)),
  );
  one("resume", "let it fire again after a pause").action((scheduleId: string) =>
    act(async (cli) => (await import("../actions/schedules.ts")).resumeSchedule(cli, scheduleId)),
  );
  one("archive", "let it never fire again; kept for the record").action((scheduleId: string) =>
    act(async (cli) => (await import("../actions/schedules.ts")).archiveSchedule(cli, scheduleId)),
  );
}
