import { isDeepStrictEqual } from "node:util";
import { randomIds } from "../kernel/ids.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import { createSystemCommand } from "../runs/system-command.ts";
import { releaseRun } from "../runs/lease-decider.ts";
import { runAggregate } from "../runs/state.ts";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { valueToJson } from "../client/json.ts";
import { openMemoryInstallation } from "./memory-installation.ts";
import { importUnended, readRecording, type Recording } from "./recording.ts";
import { startTestWorker, type TestOptions, type TestRun } from "./signalbox.ts";

/**
 * Works on a recorded run again with the handlers as they are now, every step, tool call and model answer taken from the
 * recording. Throws an error that says so when the handler asks for anything that is not on record, fails, or returns
 * something else than it did then.
 */
export async function replayRun(recording: Recording, options: Omit<TestOptions, "now">): Promise<TestRun> {
  const { runId, workspaceId, events } = readRecording(recording);
  const last = events.at(-1)?.createTime;
  await using installation = await openMemoryInstallation(last ? timestampDate(last) : new Date());
  const end = await importUnended(installation.log, events);
  const { clock, log } = installation;
  // The worker of then gives the run back to the one of now.
  const command = createSystemCommand(createAggregates(runAggregate, { log, clock, ids: randomIds }), randomIds);
  await command(workspaceId, runId, (state) =>
    state.status === "running" && state.lease
      ? releaseRun(state, { runId, leaseId: state.lease.leaseId }, "to be replayed", 0, clock.now())
      : undefined,
  );
  await using signalbox = startTestWorker(installation, workspaceId, options);
  const replayed = await signalbox.resume(runId);
  const begun = replayed.events.slice(events.length).find(({ type }) => type.endsWith(".started"));
  if (begun !== undefined)
    throw new Error(`the handler does more than is on record: ${begun.type} at ${begun.position}`);
  const wanted = end.payload.case === "runSucceeded" ? valueToJson(end.payload.value.output) : undefined;
  const type = replayed.events.at(-1)?.type;
  if (type !== end.type || !isDeepStrictEqual(replayed.output, wanted)) {
    const text = (value: unknown) => JSON.stringify(value) ?? "nothing";
    const message = `the run ended with ${end.type} and ${text(wanted)}; replayed, with ${type ?? "nothing"} and ${text(replayed.output)}`;
    throw new Error(replayed.error ? `${message}: ${replayed.error.code} ${replayed.error.message}` : message);
  }
  return replayed;
}
