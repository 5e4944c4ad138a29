import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Run } from "../../../gen/signalbox/v1/run_pb.ts";
import type { HandlerContext } from "../handler.ts";
import type { Measured } from "./trial.ts";

/** The labels of the run of a trial. */
export const caseLabel = "evaluation.case";
export const repeatLabel = "evaluation.repeat";

/** What is known of the run of a trial. */
export type MeasuredTrial = Measured & { readonly key: string; readonly repeat: number };

const pageSize = 200;

/** What is known of the runs of all trials of this evaluation, which have ended. */
export async function measureTrials({ client, currentRun, signal }: HandlerContext): Promise<MeasuredTrial[]> {
  const { runId } = currentRun;
  const { run } = await client.runs.getRun({ runId }, { signal });
  const found: MeasuredTrial[] = [];
  let pageToken = "";
  do {
    const request = { parentRunId: runId, pageSize, pageToken, minPosition: run?.position ?? 0n };
    const page = await client.runs.listRuns(request, { signal });
    for (const child of page.runs) {
      const { [caseLabel]: key, [repeatLabel]: repeat } = child.labels;
      if (key !== undefined && repeat !== undefined) found.push({ ...measured(child), key, repeat: Number(repeat) });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** What is known of a run that has ended. */
export function measured({ runId, createTime, endTime, usage }: Run): Measured {
  return {
    runId,
    latencyMs: createTime && endTime ? Math.max(0, timestampMs(endTime) - timestampMs(createTime)) : 0,
    inputTokens: Number(usage?.inputTokens ?? 0n),
    outputTokens: Number(usage?.outputTokens ?? 0n),
    costMicros: Number(usage?.costMicros ?? 0n),
  };
}
