import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption } from "../option-values.ts";

/** Options of `kill-switch on` and `off`. */
export interface FlipOptions {
  readonly installation?: true;
  readonly reason?: string;
}

/** Options of `kill-switch status`. */
export interface KillSwitchStatusOptions {
  readonly limit: number;
}

const installationOption = ["--installation", "of every workspace (default: of this one)"] as const;

/** Adds `kill-switch`. */
export function addKillSwitch(program: Command, act: Act): void {
  const killSwitch = program.command("kill-switch").description("stop external writes, approved or not");
  killSwitch
    .command("on")
    .description("stop external writes; once the command is done, no further one starts")
    .requiredOption("--reason <text>", "why, for people")
    .option(...installationOption)
    .addHelpText(
      "after",
      `
Runs that want to write outside are paused. What had started before goes on: \`signalbox kill-switch status\` shows it.

Examples:
  $ signalbox kill-switch on --reason "wrong prices go out"
  $ signalbox kill-switch on --installation --reason "the mail provider is compromised"`,
    )
    .action((options: FlipOptions) =>
      act(async (cli) => (await import("../actions/kill-switch.ts")).flip(cli, true, options)),
    );
  killSwitch
    .command("off")
    .description("let external writes go on; paused runs stay paused until they are resumed")
    .option("--reason <text>", "why, for people")
    .option(...installationOption)
    .addHelpText("after", '\nExamples:\n  $ signalbox kill-switch off --reason "prices are right again"')
    .action((options: FlipOptions) =>
      act(async (cli) => (await import("../actions/kill-switch.ts")).flip(cli, false, options)),
    );
  killSwitch
    .command("status")
    .description("show the switches, and for each run what was stopped where")
    .option("--limit <count>", "how many stopped writes at most", countOption, 200)
    .addHelpText("after", "\nExamples:\n  $ signalbox kill-switch status\n  $ signalbox kill-switch status --json")
    .action((options: KillSwitchStatusOptions) =>
      act(async (cli) => (await import("../actions/kill-switch.ts")).showStatus(cli, options)),
    );
}
