import type { Value } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { RunMessage } from "../../gen/signalbox/v1/run_pb.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import { messageOf } from "./message.ts";
import type { StepHead, ToolCallHead } from "./state.ts";

/** What a run's stream says beyond the state that decisions rest on: what went into steps and tool calls, and out. */
export interface RunRecord {
  /** The recorded output of a completed step. */
  stepOutput(subject: string, head: StepHead): Promise<Value | undefined>;
  /** The recorded result of a tool call that succeeded or was reconciled. */
  toolCallResult(subject: string, head: ToolCallHead): Promise<Value | undefined>;
  /** The arguments that a tool call was last started with, or held back with since. */
  toolCallArguments(subject: string, head: ToolCallHead): Promise<Value | undefined>;
  /**
   * What steps, tool calls and people have said up to a position, up to `maxBytes` of it. No more than four times as much of
   * the stream is read: a run that was told a lot is claimed as fast as any other.
   */
  said(subject: string, upTo: bigint, maxBytes: number): Promise<Said>;
}

/** What a run was told, as far as it fits. */
export interface Said {
  /** Outputs of completed steps and results of tool calls by step or tool call id; those that did not fit are not there. */
  readonly values: ReadonlyMap<string, Value | undefined>;
  /** In order, the newest left out when not all of them fit. */
  readonly messages: readonly RunMessage[];
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
      return payload && valueIn(payload)?.value;
    },
    async toolCallResult(subject, { toolCall }) {
      const payload = await payloadAt(subject, toolCall.position);
      return payload && valueIn(payload)?.value;
    },
    async toolCallArguments(subject, { argumentsPosition }) {
      const payload = await payloadAt(subject, argumentsPosition);
      if (
        payload?.case === "toolCallStarted" ||
        payload?.case === "toolCallReused" ||
        payload?.case === "toolCallGated"
      ) {
        return payload.value.arguments;
      }
      return undefined;
    },
    async said(subject, upTo, maxBytes) {
      const values = new Map<string, Value | undefined>();
      const messages: RunMessage[] = [];
      let readBytes = 0;
      let leftBytes = maxBytes;
      let messagesFit = true;
      for await (const { event, body } of log.read(subject, 0n, upTo)) {
        if (readBytes > 4 * maxBytes) break;
        readBytes += body.length;
        const found = valueIn(event.payload);
        // What does not fit is left out whole; the worker gets it when it starts the step again.
        if (found && body.length <= leftBytes) {
          values.set(found.id, found.value);
          leftBytes -= body.length;
        }
        const message = messageOf(event);
        if (message === undefined) continue;
        // No gaps: the worker counts them.
        messagesFit &&= body.length <= leftBytes;
        if (!messagesFit) continue;
        messages.push(message);
        leftBytes -= body.length;
      }
      return { values, messages };
    },
  };
}

/** The output or result that a payload brings, and of which step or tool call; undefined for every other payload. */
function valueIn(payload: Event["payload"]): { id: string; value: Value | undefined } | undefined {
  if (payload.case === "stepCompleted" || payload.case === "stepReused") {
    return { id: payload.value.stepId, value: payload.value.output };
  }
  if (payload.case === "toolCallSucceeded" || payload.case === "toolCallReused") {
    return { id: payload.value.toolCallId, value: payload.value.result };
  }
  // Reconciled without a result, the call had not taken effect: there is nothing to answer.
  if (payload.case !== "toolCallReconciled" || payload.value.result === undefined) return undefined;
  return { id: payload.value.toolCallId, value: payload.value.result };
}
