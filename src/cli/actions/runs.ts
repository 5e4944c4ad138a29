import { toJson } from "@bufbuild/protobuf";
import {
  type Run,
  RunEndReason,
  RunSchema,
  RunStatus,
  type Step,
  StepSchema,
} from "../../../gen/signalbox/v1/run_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { CancelRunOptions, ListRunsOptions, WaitRunOptions } from "../commands/runs.ts";
import { runTable, runView, stepTable } from "../views/run-view.ts";
import { openClient } from "./client.ts";
import { exitCodeOf, waitForEnd } from "./ending.ts";
import { pages, showList } from "./listing.ts";

const statusOf = {
  queued: RunStatus.QUEUED,
  running: RunStatus.RUNNING,
  waiting: RunStatus.WAITING,
  paused: RunStatus.PAUSED,
  succeeded: RunStatus.SUCCEEDED,
  failed: RunStatus.FAILED,
  canceled: RunStatus.CANCELED,
} as const satisfies Record<NonNullable<ListRunsOptions["status"]>[number], RunStatus>;

const endReasonOf = {
  completed: RunEndReason.COMPLETED,
  handler_failed: RunEndReason.HANDLER_FAILED,
  attempts_exhausted: RunEndReason.ATTEMPTS_EXHAUSTED,
  deadline_exceeded: RunEndReason.DEADLINE_EXCEEDED,
  canceled: RunEndReason.CANCELED,
  policy_denied: RunEndReason.POLICY_DENIED,
} as const satisfies Record<NonNullable<ListRunsOptions["endReason"]>[number], RunEndReason>;

/** `signalbox runs ls`. */
export async function listRuns(cli: Cli, options: ListRunsOptions): Promise<ExitCode> {
  const { status = [], endReason = [], dead = false, label = {}, limit } = options;
  using client = openClient(cli);
  const filters = {
    statuses: status.map((name) => statusOf[name]),
    endReasons: [...endReason, ...(dead ? ["attempts_exhausted" as const] : [])].map((name) => endReasonOf[name]),
    agentId: options.agent ?? "",
    handler: options.handler ?? "",
    queue: options.queue ?? "",
    sessionId: options.session ?? "",
    parentRunId: options.parent ?? "",
    roomId: options.room ?? "",
    labels: label,
  };
  const runs: Run[] = await pages(limit, async (page) => {
    const response = await client.runs.listRuns({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.runs, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, runs, (run) => toJson(RunSchema, run), runTable);
  return exitCodes.ok;
}

/** `signalbox runs get`. */
export async function getRun(cli: Cli, runId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const { run } = await client.runs.getRun({ runId }, { signal: cli.signal });
  showRun(cli, run);
  return exitCodes.ok;
}

/** `signalbox runs cancel`. */
export async function cancelRun(cli: Cli, runId: string, { reason = "" }: CancelRunOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const { run } = await client.runs.cancelRun({ runId, reason }, { signal: cli.signal });
  showRun(cli, run);
  return exitCodes.ok;
}

/** `signalbox runs wait`. */
export async function waitRun(cli: Cli, runId: string, { timeout }: WaitRunOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const run = await waitForEnd(client, cli, runId, timeout);
  showRun(cli, run);
  return cli.signal.aborted ? exitCodes.interrupted : exitCodeOf(run);
}

/** `signalbox runs steps`. */
export async function listSteps(cli: Cli, runId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const { run } = await client.runs.getRun({ runId }, { signal: cli.signal });
  const minPosition = run?.position ?? 0n;
  const steps: Step[] = await pages(Infinity, async (page) => {
    const response = await client.runs.listSteps({ runId, minPosition, ...page }, { signal: cli.signal });
    return { items: response.steps, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, steps, (step) => toJson(StepSchema, step), stepTable);
  return exitCodes.ok;
}

/** Shows everything about a run. */
export function showRun({ output }: Cli, run: Run | undefined): void {
  if (run === undefined) throw new Error("the server answered without a run");
  output.show(toJson(RunSchema, run), runView(run));
}
