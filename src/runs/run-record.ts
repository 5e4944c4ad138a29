import type { Value } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Step, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { StepHead, ToolCallHead } from "./state.ts";
import { evolveStep } from "./step.ts";

/** What a run's stream says beyond the state that decisions rest on: what went into steps and tool calls, and out. */
export interface RunRecord {
  /** The recorded output of a completed step. */
  stepOutput(subject: string, head: StepHead): Promise<Value | undefined>;
  /** The recorded result of a tool call that succeeded or was reconciled. */
  toolCallResult(subject: string, head: ToolCallHead): Promise<Value | undefined>;
  /** The arguments that a tool call was last started with. */
  toolCallArguments(subject: string, head: ToolCallHead): Promise<Value | undefined>;
  /** The completed steps in order of their first start, up to `maxBytes`; `complete` is false when some did not fit. */
  completedSteps(subject: string, upTo: bigint, maxBytes: number): Promise<{ steps: Step[]; complete: boolean }>;
}

/** Reads runs from the log. */
export function createRunRecord(log: EventLog): RunRecord {
  async function payloadAt(subject: string, position: bigint): Promise<Event["payload"] | undefined> {
    const record = await log.next(subject, position - 1n);
    return record?.position === position ? record.event.payload : undefined;
  }

  return {
    async stepOutput(subject, { step }) {
      const payload = await payloadAt(subject, step.position);
      return payload?.case === "stepCompleted" ? payload.value.output : undefined;
    },
    async toolCallResult(subject, { toolCall }) {
      const payload = await payloadAt(subject, toolCall.position);
      if (payload?.case === "toolCallSucceeded" || payload?.case === "toolCallReconciled") return payload.value.result;
      return undefined;
    },
    async toolCallArguments(subject, { startPosition }) {
      const payload = await payloadAt(subject, startPosition);
      return payload?.case === "toolCallStarted" ? payload.value.arguments : undefined;
    },
    async completedSteps(subject, upTo, maxBytes) {
      const steps = new Map<string, Step>();
      let bytes = 0;
      let complete = true;
      for await (const { event, body } of log.read(subject, 0n, upTo)) {
        if (event.payload.case !== "stepStarted" && event.payload.case !== "stepCompleted") continue;
        const { stepId } = event.payload.value;
        const before = steps.get(stepId);
        const done = event.payload.case === "stepCompleted";
        // What does not fit is left out whole; the worker gets it from StartStep.
        if (done && bytes + body.length > maxBytes) {
          steps.delete(stepId);
          complete = false;
          continue;
        }
        if (done) bytes += body.length;
        const step = evolveStep(before, event);
        if (step) steps.set(stepId, step);
      }
      return { steps: [...steps.values()].filter(({ status }) => status === StepStatus.COMPLETED), complete };
    },
  };
}
