import type { WakeCondition } from "../../../gen/signalbox/v1/run_pb.ts";
import { timeText } from "./values.ts";

/** What a run waits for: `2026-11-21 08:00:00Z, or a message`. */
export function conditionsText(conditions: readonly WakeCondition[]): string {
  return conditions.map(conditionText).join(", or ");
}

function conditionText({ condition }: WakeCondition): string {
  switch (condition.case) {
    case "time":
      return timeText(condition.value);
    case "children":
      return condition.value.runIds.length === 1
        ? (condition.value.runIds[0] ?? "")
        : `${condition.value.runIds.length} runs`;
    case "message":
      return condition.value.threadId === "" ? "a message" : `a message of ${condition.value.threadId}`;
    case undefined:
      return "something that this program does not know";
  }
}
