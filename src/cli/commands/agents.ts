import { type Command, Option } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption, durationOption, listOption, numberOption, zones } from "../option-values.ts";
import {
  type BudgetSettings,
  budgeted,
  type MemorySettings,
  remembering,
  type RetrySettings,
  retried,
} from "../policy-options.ts";

const agentStatuses = ["active", "paused", "archived"] as const;

/** Options that configure an agent. */
export interface AgentOptions {
  readonly name?: string;
  readonly handler?: string;
  readonly preset?: string;
  readonly model?: string;
  /** The text, or @file, or - for stdin. */
  readonly instructions?: string;
  readonly tool?: readonly string[];
  readonly zone?: (typeof zones)[number];
  /** In milliseconds. */
  readonly maxDuration?: number;
  readonly maxRunning?: number;
  readonly maxTurns?: number;
  readonly retry?: Partial<RetrySettings>;
  readonly budget?: Partial<BudgetSettings>;
  readonly memory?: Partial<MemorySettings>;
}

/** Options of `agents create`. */
export interface CreateAgentOptions extends AgentOptions {
  readonly name: string;
  readonly requestId?: string;
}

/** Options of `agents update`. */
export interface UpdateAgentOptions extends AgentOptions {
  readonly etag?: string;
}

/** Options of `agents ls`. */
export interface ListAgentsOptions {
  readonly status?: readonly (typeof agentStatuses)[number][];
  readonly limit: number;
}

/** Adds `agents` and `presets`. */
export function addAgents(program: Command, act: Act): void {
  addPresets(program, act);
  const agents = program.command("agents").description("keep agents: named configurations that runs can be asked of");
  addWriting(agents, act);
  addReading(agents, act);
  const one = (name: string, description: string) =>
    agents
      .command(`${name} <agent-id>`)
      .description(description)
      .addHelpText("after", `\nExamples:\n  $ signalbox agents ${name} agt_01J…`);
  one("pause", "refuse new runs until it is resumed; running ones go on").action((agentId: string) =>
    act(async (cli) => (await import("../actions/agents.ts")).pauseAgent(cli, agentId)),
  );
  one("resume", "take runs again after a pause").action((agentId: string) =>
    act(async (cli) => (await import("../actions/agents.ts")).resumeAgent(cli, agentId)),
  );
  one("archive", "refuse new runs for good; kept for the record").action((agentId: string) =>
    act(async (cli) => (await import("../actions/agents.ts")).archiveAgent(cli, agentId)),
  );
}

function addPresets(program: Command, act: Act): void {
  program
    .command("presets")
    .description("agents that come with Signalbox")
    .command("create")
    .description(
      "create the agents of all presets, and documents to look things up in; `signalbox up` does so by itself",
    )
    .addHelpText("after", "\nWhat is there already stays as it is.\n\nExamples:\n  $ signalbox presets create")
    .action(() => act(async (cli) => (await import("../actions/agents.ts")).createPresets(cli)));
}

function addWriting(agents: Command, act: Act): void {
  configured(agents.command("create"))
    .description("create an active agent")
    .requiredOption("--name <text>", "what people call it")
    .option("--request-id <id>", "makes the command repeatable: the same id answers the same agent")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox agents create --name Researcher --model large --tool search,read --instructions @research.md
  $ signalbox agents create --name Echo --handler echo --max-duration 30s --retry attempts=5,on-exhausted=pause
  $ signalbox agents create --name Desk --preset assistant_basic --memory history=on,compact-after=20000`,
    )
    .action((options: CreateAgentOptions) =>
      act(async (cli) => (await import("../actions/agents.ts")).createAgent(cli, options)),
    );
  configured(agents.command("update <agent-id>"))
    .description("change what is given, and nothing else")
    .option("--name <text>", "what people call it")
    .option("--etag <etag>", "refuse when the agent has changed since this etag was read")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox agents update agt_01J… --model small
  $ signalbox agents update agt_01J… --max-running 2 --budget tokens=200000,cost=2.50
  $ signalbox agents update agt_01J… --name Writer --etag 3`,
    )
    .action((agentId: string, options: UpdateAgentOptions) =>
      act(async (cli) => (await import("../actions/agents.ts")).updateAgent(cli, agentId, options)),
    );
}

function addReading(agents: Command, act: Act): void {
  agents
    .command("get <agent-id>")
    .description("show an agent")
    .addHelpText("after", "\nExamples:\n  $ signalbox agents get agt_01J… --json")
    .action((agentId: string) => act(async (cli) => (await import("../actions/agents.ts")).getAgent(cli, agentId)));
  agents
    .command("ls")
    .alias("list")
    .description("list agents, newest first")
    .option("--status <statuses>", `some of ${agentStatuses.join(", ")}`, choicesOption(agentStatuses))
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox agents ls --status active,paused")
    .action((options: ListAgentsOptions) =>
      act(async (cli) => (await import("../actions/agents.ts")).listAgents(cli, options)),
    );
}

function configured(command: Command): Command {
  command
    .option("--handler <name>", "the worker handler that its runs go to")
    .option("--preset <name>", "the template it is made from")
    .option("--model <name>", "the model that the handler should use")
    .option("--instructions <text>", "given to the model: the text, @file, or - for stdin")
    .option("--tool <names>", "tools it may use, commas between; may be given more than once", listOption)
    .addOption(new Option("--zone <zone>", "how much is at stake in its runs").choices(zones))
    .option("--max-duration <time>", "the longest time of a run, for example 30s", durationOption)
    .option(
      "--max-running <count>",
      "how many of its runs are under way at the same time, 0 for no limit",
      numberOption,
    )
    .option("--max-turns <count>", "how often it asks the model in one run", countOption);
  return remembering(budgeted(retried(command)));
}
