import { create } from "@bufbuild/protobuf";
import {
  LeaseEndSchema,
  RunCanceledSchema,
  RunClaimedSchema,
  RunCreatedSchema,
  RunSucceededSchema,
  StepStartedSchema,
  ToolCallStartedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import type { Appender } from "../support/appender.ts";

const labels = { team: "signals", "10": "ten", "9": "nine", quote: `a "b" \\ {c}, é` };

/** The events of one run: it is created, claimed, makes a step and a tool call that its lease leaves behind, and ends. */
function lifeOf(run: string, ending: "succeeded" | "canceled"): EventPayload[] {
  const [leaseId, stepId, toolCallId] = [`lease_${run}`, `step_${run}`, `tc_${run}`];
  const lease = create(LeaseEndSchema, { leaseId, abandonedStepIds: [stepId], unknownToolCallIds: [toolCallId] });
  const toolCall = { leaseId, toolCallId, stepId, key: "pay", tool: "pay", effect: ToolEffect.EXTERNAL_WRITE };
  return [
    { case: "runCreated", value: create(RunCreatedSchema, { handler: "echo", queue: "default", labels }) },
    { case: "runClaimed", value: create(RunClaimedSchema, { attempt: 1, leaseId, workerId: 'worker, "one"' }) },
    { case: "stepStarted", value: create(StepStartedSchema, { leaseId, stepId, key: "one", name: "One" }) },
    { case: "toolCallStarted", value: create(ToolCallStartedSchema, toolCall) },
    ending === "succeeded"
      ? { case: "runSucceeded", value: create(RunSucceededSchema, { lease }) }
      : { case: "runCanceled", value: create(RunCanceledSchema, { lease, reason: "enough" }) },
  ];
}

/** Appends the events of some runs, one after the other in turns: five events each. Returns the records in log order. */
export async function appendRuns(appender: Appender, runs: number, start = 0): Promise<EventRecord[]> {
  const records: EventRecord[] = [];
  const lives = Array.from({ length: runs }, (_, i) => ({
    stream: { id: `run_${start + i}`, roomId: i % 2 === 0 ? "room_1" : "", workspaceId: i % 3 === 0 ? "ws_a" : "ws_b" },
    payloads: lifeOf(String(start + i), i % 2 === 0 ? "succeeded" : "canceled"),
  }));
  for (let step = 0; step < 5; step++) {
    for (const { stream, payloads } of lives) records.push(await appender.append(stream, payloads[step]));
  }
  return records;
}
