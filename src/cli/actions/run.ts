import { toJson } from "@bufbuild/protobuf";
import { AgentStatus } from "../../../gen/signalbox/v1/agent_pb.ts";
import { type Run, RunSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type PresetName, presets } from "../../engine/agent/presets.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { RunOptions } from "../commands/runs.ts";
import { createPreset } from "../starter-set.ts";
import { runView } from "../views/run-view.ts";
import { openClient } from "./client.ts";
import { exitCodeOf, waitForEnd } from "./ending.ts";
import { type RunTemplate, templateOf } from "./run-template.ts";
import { watchRun } from "./watching.ts";

/** `signalbox run`: starts a run and, if asked, stays until it has ended. */
export async function run(cli: Cli, handler: string | undefined, options: RunOptions): Promise<ExitCode> {
  if ([handler, options.agent, options.preset].filter((target) => target !== undefined).length !== 1) {
    throw usageError(
      "give a handler, --agent or --preset, and one of them only",
      `For example: signalbox run --preset assistant_basic --input "What is a run?" --watch`,
    );
  }
  const template = await templateOf(options);
  using client = openClient(cli);
  const created = await create(client, cli, handler, options, template);
  if (options.watch) return await watchRun(client, cli, created);
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
  cli: Cli,
  handler = "",
  options: RunOptions,
  template: RunTemplate,
): Promise<Run> {
  const agentId = await agentOf(client, cli, options);
  const request = { ...template, handler, agentId, requestId: options.requestId ?? "" };
  const { run: created } = await client.runs.createRun(request, { signal: cli.signal });
  if (created === undefined) throw new Error("the server answered without a run");
  return created;
}

/** The agent to ask: the one named, or the newest of the preset, which is created if it is one of ours. */
async function agentOf(client: SignalboxClient, { signal }: Cli, { agent = "", preset }: RunOptions): Promise<string> {
  if (preset === undefined) return agent;
  const request = { preset, statuses: [AgentStatus.ACTIVE], pageSize: 1 };
  const { agents } = await client.agents.listAgents(request, { signal });
  if (agents[0] !== undefined) return agents[0].agentId;
  if (isPreset(preset)) return (await createPreset(client, preset, signal)).agentId;
  throw usageError(
    `there is no agent of the preset ${JSON.stringify(preset)}`,
    `Presets that come with Signalbox: ${Object.keys(presets).join(", ")}.`,
  );
}

function isPreset(name: string): name is PresetName {
  return Object.hasOwn(presets, name);
}
