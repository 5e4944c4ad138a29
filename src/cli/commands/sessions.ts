import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption } from "../option-values.ts";

/** Options of `sessions ls`. */
export interface ListSessionsOptions {
  readonly limit: number;
}

/** Options of `sessions history`. */
export interface SessionHistoryOptions {
  readonly after?: string;
}

/** Adds `sessions`. */
export function addSessions(program: Command, act: Act): void {
  const sessions = program.command("sessions").description("show conversations: runs of the same session");
  sessions
    .command("ls")
    .alias("list")
    .description("list sessions, newest first")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox sessions ls")
    .action((options: ListSessionsOptions) =>
      act(async (cli) => (await import("../actions/sessions.ts")).listSessions(cli, options)),
    );
  sessions
    .command("get <session-id>")
    .description("show a session")
    .addHelpText("after", "\nExamples:\n  $ signalbox sessions get sess_desk")
    .action((sessionId: string) =>
      act(async (cli) => (await import("../actions/sessions.ts")).getSession(cli, sessionId)),
    );
  sessions
    .command("history <session-id>")
    .description("tell a conversation, from its beginning")
    .option("--after <run-id>", "only what came after this run")
    .addHelpText(
      "after",
      `
With --json one turn per line.

Examples:
  $ signalbox sessions history sess_desk
  $ signalbox sessions history sess_desk --after run_01J… --json`,
    )
    .action((sessionId: string, options: SessionHistoryOptions) =>
      act(async (cli) => (await import("../actions/sessions.ts")).sessionHistory(cli, sessionId, options)),
    );
}
