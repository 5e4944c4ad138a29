import { Command, CommanderError } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { type ExitCode, exitCodes, usageError } from "./cli-error.ts";
import type { Act, Cli } from "./cli.ts";
import { addAgents } from "./commands/agents.ts";
import { addApprovals } from "./commands/approvals.ts";
import { addArtifacts } from "./commands/artifacts.ts";
import { addBoard } from "./commands/board.ts";
import { addBundles } from "./commands/bundles.ts";
import { addDocuments } from "./commands/documents.ts";
import { addEvals } from "./commands/evals.ts";
import { addEvents } from "./commands/events.ts";
import { addIncidents } from "./commands/incidents.ts";
import { addKeys } from "./commands/keys.ts";
import { addKillSwitch } from "./commands/kill-switch.ts";
import { addMessages } from "./commands/messages.ts";
import { addPolicy } from "./commands/policy.ts";
import { addQueues } from "./commands/queues.ts";
import { addRooms } from "./commands/rooms.ts";
import { addRuns } from "./commands/runs.ts";
import { addSchedules } from "./commands/schedules.ts";
import { addServing } from "./commands/serving.ts";
import { addSessions } from "./commands/sessions.ts";
import { addToolCalls } from "./commands/tool-calls.ts";
import { addUpkeep } from "./commands/upkeep.ts";
import { addWorkers } from "./commands/workers.ts";

interface GlobalOptions {
  readonly url?: string;
  readonly workspace?: string;
  readonly as?: string;
}

const exitCodeHelp = `
Exit codes:
  0    done; of a run: it succeeded
  1    failed: refused, or a run that did not succeed, or a problem was found
  2    called wrongly: arguments or settings
  3    not reachable: the server, NATS or Postgres
  4    the time was up before the run ended
  130  interrupted

Examples:
  $ signalbox up                                          start everything on this machine
  $ signalbox run echo --input '{"hello":"world"}' --watch
  $ signalbox events tail

Settings come from the environment: \`signalbox config\` lists them.`;

/** What adds commands, in the order of the help. */
const adders = [
  addServing,
  addRuns,
  addArtifacts,
  addBundles,
  addBoard,
  addRooms,
  addMessages,
  addApprovals,
  addPolicy,
  addKillSwitch,
  addIncidents,
  addToolCalls,
  addEvents,
  addAgents,
  addEvals,
  addSessions,
  addDocuments,
  addSchedules,
  addQueues,
  addWorkers,
  addUpkeep,
  addKeys,
];

/** Runs one command line (without `node` and the script). Throws what went wrong; a CliError for a wrong call. */
export async function runProgram(args: readonly string[], cli: Cli): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const program = new Command("signalbox");
  const act: Act = async (action) => {
    const { url, workspace, as } = program.opts<GlobalOptions>();
    const env = {
      ...cli.env,
      ...(url === undefined ? {} : { SIGNALBOX_URL: url }),
      ...(workspace === undefined ? {} : { SIGNALBOX_WORKSPACE: workspace }),
      ...(as === undefined ? {} : { SIGNALBOX_AS: as }),
    };
    exitCode = await action({ ...cli, env });
  };
  program
    .description("Control room for agent runs.")
    .version(packageJson.version, "--version", "print the version")
    .option("--json", "print JSON, one value per line")
    .option("--url <url>", "the server to call (default: SIGNALBOX_URL)")
    .option("--workspace <id>", "the workspace to use (default: SIGNALBOX_WORKSPACE)")
    .option("--as <principals>", "on whose behalf to call, for example user:alice (default: SIGNALBOX_AS)")
    .helpOption("--help", "show help with examples")
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    // Errors are printed by the one who called us.
    .configureOutput({
      writeOut: (text) => cli.output.print(text.trimEnd()),
      // Help in place of a missing command: the error says so.
      writeErr: () => {},
      outputError: () => {},
    })
    .addHelpText("after", exitCodeHelp);
  for (const add of adders) add(program, act);
  throwErrors(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    throw error;
  }
  return exitCode;
}

/** Makes the command and those below it throw what is wrong with their arguments, with the help that fits. */
function throwErrors(command: Command): void {
  command.exitOverride((error) => {
    if (error.exitCode === 0) throw error;
    if (error.code === "commander.help") throw usageError("no command was given", helpHint(command));
    throw usageError(error.message.replace(/^error: /, ""), helpHint(command));
  });
  for (const below of command.commands) throwErrors(below.helpCommand(false));
}

function helpHint(command: Command): string {
  const names = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  return `${names.join(" ")} --help shows how it is called.`;
}
