import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Run, RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { createBackoff, pause } from "../../client/backoff.ts";
import { isTransient, type SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { stopsOf } from "../views/waiting.ts";

/** How long one call waits for the end of a run: as long as people may not know that the run waits for them. */
const pollMs = 2_000;
/** How long one call may take. */
const callTimeoutMs = 60_000;

/** The exit code that says how a run ended; timeUp while it has not. */
export function exitCodeOf({ status }: Run): ExitCode {
  if (status === RunStatus.SUCCEEDED) return exitCodes.ok;
  return isTerminal(status) ? exitCodes.failed : exitCodes.timeUp;
}

/**
 * The run once it has ended, or as it is when `timeoutMs` are over or the signal aborts. Says once for each thing that people
 * have to do before it goes on. Outlasts a server that goes away after it has answered once.
 */
export async function waitForEnd(
  client: Pick<SignalboxClient, "runs">,
  { output, signal }: Cli,
  runId: string,
  timeoutMs = Infinity,
): Promise<Run> {
  const until = performance.now() + timeoutMs;
  const backoff = createBackoff(100, 5_000);
  const told = new Set<string>();
  let isAway = false;
  let { run } = await client.runs.getRun({ runId }, { signal });
  while (run !== undefined && !isTerminal(run.status) && !signal.aborted) {
    for (const stop of stopsOf(run)) {
      if (!told.has(stop)) output.note(stop);
      told.add(stop);
    }
    const leftMs = Math.max(0, until - performance.now());
    if (leftMs === 0) break;
    try {
      const timeout = durationFromMs(Math.ceil(Math.min(pollMs, leftMs)));
      run = (await client.runs.waitRun({ runId, timeout }, { signal, timeoutMs: callTimeoutMs })).run;
      isAway = false;
      backoff.reset();
    } catch (error) {
      if (signal.aborted) break;
      if (!isTransient(error)) throw error;
      if (!isAway)
        output.note(`the server is away, waiting for it: ${error instanceof Error ? error.message : String(error)}`);
      isAway = true;
      await pause(backoff.next(), signal);
    }
  }
  if (run === undefined) throw new Error("the server answered without a run");
  return run;
}

function isTerminal(status: RunStatus): boolean {
  return status === RunStatus.SUCCEEDED || status === RunStatus.FAILED || status === RunStatus.CANCELED;
}
