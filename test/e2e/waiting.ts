import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { StepKind, type WakeCondition, WakeConditionSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { createRun } from "./runs.ts";

/** Holds from a time on, in milliseconds since the epoch. */
export function atTime(timeMs: number): WakeCondition {
  return create(WakeConditionSchema, { condition: { case: "time", value: timestampFromMs(timeMs) } });
}

/** Holds when all these runs have ended. */
export function allEnded(...runIds: string[]): WakeCondition {
  return create(WakeConditionSchema, { condition: { case: "children", value: { runIds } } });
}

/** Holds when the run has got a message without a thread. */
export function someMessage(): WakeCondition {
  return create(WakeConditionSchema, { condition: { case: "message", value: { threadId: "", afterNumber: 0 } } });
}

/** Creates a child of a run and the step that waits for it; returns the child's id. */
export async function startChild(
  client: SignalboxClient,
  parent: { readonly runId: string; readonly leaseToken: string },
  handler: string,
): Promise<string> {
  const childRunId = await createRun(client, { handler, parentRunId: parent.runId });
  const { leaseToken } = parent;
  await client.engine.startStep({ leaseToken, key: childRunId, kind: StepKind.RUN, childRunId });
  return childRunId;
}
