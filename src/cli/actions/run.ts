import { toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import { type Run, RunSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { RunOptions } from "../commands/runs.ts";
import { runView } from "../views/run-view.ts";
import { createTimeline } from "../views/timeline.ts";
import { openClient } from "./client.ts";
import { exitCodeOf, waitForEnd } from "./ending.ts";
import { followEvents } from "./following.ts";
import { jsonArgument } from "./text-argument.ts";

/** `signalbox run`: starts a run and, if asked, stays until it has ended. */
export async function run(cli: Cli, handler: string | undefined, options: RunOptions): Promise<ExitCode> {
  if ((handler === undefined) === (options.agent === undefined)) {
    throw usageError(
      "give either a handler or --agent",
      'For example: signalbox run echo --input \'{"hello":"world"}\'',
    );
  }
  const input = await jsonArgument("--input", options.input);
  using client = openClient(cli);
  const created = await create(client, cli, handler, options, input);
  if (options.watch) return await watch(client, cli, created);
  if (options.wait) {
    const ended = await waitForEnd(client, cli, created.runId);
    cli.output.show(toJson(RunSchema, ended), runView(ended));
    return cli.signal.aborted ? exitCodes.interrupted : exitCodeOf(ended);
  }
  cli.output.show(toJson(RunSchema, created), created.runId);
  return exitCodes.ok;
}

async function create(
  client: SignalboxClient,
  { signal }: Cli,
  handler = "",
  { agent = "", room = "", queue = "", label = {}, requestId = "", maxDuration }: RunOptions,
  input: Run["input"],
): Promise<Run> {
  const { run: created } = await client.runs.createRun(
    {
      handler,
      agentId: agent,
      roomId: room,
      queue,
      labels: label,
      requestId,
      ...(input === undefined ? {} : { input }),
      ...(maxDuration === undefined ? {} : { maxDuration: durationFromMs(maxDuration) }),
    },
    { signal },
  );
  if (created === undefined) throw new Error("the server answered without a run");
  return created;
}

/** Shows the events of a run until it has ended. */
async function watch(client: SignalboxClient, cli: Cli, { runId }: Run): Promise<ExitCode> {
  const { output, signal } = cli;
  const timeline = createTimeline();
  output.say(runId);
  for await (const event of followEvents(client, cli, { filter: { runId } })) {
    output.show(toJson(EventSchema, event), timeline.since(event));
  }
  if (signal.aborted) return exitCodes.interrupted;
  return exitCodeOf(await waitForEnd(client, cli, runId));
}
