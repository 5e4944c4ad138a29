import { toJson } from "@bufbuild/protobuf";
import { type Run, RunMessageSchema, RunSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ForkRunOptions, NoteOptions, ResumeRunOptions, SendMessageOptions } from "../commands/steering.ts";
import { given } from "../given.ts";
import { messageView } from "../views/run-view.ts";
import { openClient } from "./client.ts";
import { budgetOf } from "./policies.ts";
import { showRun } from "./runs.ts";
import { jsonArgument } from "./text-argument.ts";

/** `signalbox runs pause`. */
export async function pauseRun(cli: Cli, runId: string, { note = "" }: NoteOptions): Promise<ExitCode> {
  using client = openClient(cli);
  showRun(cli, (await client.runs.pauseRun({ runId, note }, { signal: cli.signal })).run);
  return exitCodes.ok;
}

/** `signalbox runs resume`. */
export async function resumeRun(cli: Cli, runId: string, options: ResumeRunOptions): Promise<ExitCode> {
  const { note = "", budget } = options;
  const { signal } = cli;
  using client = openClient(cli);
  // The call replaces the budget as a whole.
  const before = budget && (await client.runs.getRun({ runId }, { signal })).run;
  const request = { runId, note, ...given({ budget: budget && budgetOf(budget, before?.budget) }) };
  showRun(cli, (await client.runs.resumeRun(request, { signal })).run);
  return exitCodes.ok;
}

/** `signalbox runs retry`. */
export async function retryRun(cli: Cli, runId: string, { note = "" }: NoteOptions): Promise<ExitCode> {
  using client = openClient(cli);
  return showId(cli, (await client.runs.retryRun({ runId, note }, { signal: cli.signal })).run);
}

/** `signalbox runs fork`. */
export async function forkRun(cli: Cli, runId: string, options: ForkRunOptions): Promise<ExitCode> {
  const { position = 0n, requestId = "" } = options;
  const input = await jsonArgument("--input", options.input);
  using client = openClient(cli);
  const request = { runId, position, requestId, ...given({ input }) };
  return showId(cli, (await client.runs.forkRun(request, { signal: cli.signal })).run);
}

/** `signalbox runs send`. */
export async function sendMessage(
  cli: Cli,
  runId: string,
  text: string,
  { thread = "", requestId = "" }: SendMessageOptions,
): Promise<ExitCode> {
  const content = await jsonArgument("<message>", text);
  using client = openClient(cli);
  const request = { runId, threadId: thread, requestId, ...given({ content }) };
  const { message, run } = await client.runs.sendMessage(request, { signal: cli.signal });
  if (message === undefined) throw new Error("the server answered without a message");
  cli.output.show(toJson(RunMessageSchema, message), messageView(message, run));
  return exitCodes.ok;
}

function showId({ output }: Cli, run: Run | undefined): ExitCode {
  if (run === undefined) throw new Error("the server answered without a run");
  output.show(toJson(RunSchema, run), run.runId);
  return exitCodes.ok;
}
