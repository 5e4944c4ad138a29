import { toJson } from "@bufbuild/protobuf";
import { type ToolCall, ToolCallSchema, ToolCallStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListToolCallsOptions, ReconcileOptions } from "../commands/tool-calls.ts";
import { given } from "../given.ts";
import { toolCallTable, toolCallView } from "../views/tool-call-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { jsonArgument } from "./text-argument.ts";

const statusOf = {
  requested: ToolCallStatus.REQUESTED,
  gated: ToolCallStatus.GATED,
  started: ToolCallStatus.STARTED,
  succeeded: ToolCallStatus.SUCCEEDED,
  failed: ToolCallStatus.FAILED,
  denied: ToolCallStatus.DENIED,
  unknown: ToolCallStatus.UNKNOWN,
  reconciled: ToolCallStatus.RECONCILED,
} as const satisfies Record<NonNullable<ListToolCallsOptions["status"]>[number], ToolCallStatus>;

/** `signalbox tool-calls ls`. */
export async function listToolCalls(cli: Cli, options: ListToolCallsOptions): Promise<ExitCode> {
  const { run: runId = "", status = [], limit } = options;
  using client = openClient(cli);
  const filters = { runId, statuses: status.map((name) => statusOf[name]) };
  const calls: ToolCall[] = await pages(limit, async (page) => {
    const response = await client.runs.listToolCalls({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.toolCalls, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, calls, (call) => toJson(ToolCallSchema, call), toolCallTable);
  return exitCodes.ok;
}

/** `signalbox tool-calls reconcile`. */
export async function reconcile(cli: Cli, toolCallId: string, options: ReconcileOptions): Promise<ExitCode> {
  const { run: runId, note } = options;
  if (options.result === undefined) {
    throw usageError(
      "say whether the call took effect: give --result or --no-result",
      "signalbox tool-calls reconcile --help shows how it is called.",
    );
  }
  const result = options.result === false ? undefined : await jsonArgument("--result", options.result);
  using client = openClient(cli);
  const request = { runId, toolCallId, note, ...given({ result }) };
  const { toolCall } = await client.engine.reconcileToolCall(request, { signal: cli.signal });
  if (toolCall === undefined) throw new Error("the server answered without a tool call");
  cli.output.show(toJson(ToolCallSchema, toolCall), toolCallView(toolCall));
  return exitCodes.ok;
}
