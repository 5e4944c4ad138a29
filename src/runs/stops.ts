import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { ToolCallGated } from "../../gen/signalbox/v1/run_event_pb.ts";

/** The error code of a step that a kill switch has stopped. */
export const killSwitchOn = "KILL_SWITCH_ON";

/** True when a call was held back by a kill switch: no approval is asked for. Pure. */
export function isStop({ approvalId }: ToolCallGated): boolean {
  return approvalId === "";
}

/** What a kill switch holds back under a lease after one more event: epochs by the id of the tool call or step. Pure. */
export function evolveStops(stops: ReadonlyMap<string, bigint>, { payload }: Event): ReadonlyMap<string, bigint> {
  if (payload.case === "toolCallGated") {
    const { toolCallId, decision } = payload.value;
    return isStop(payload.value)
      ? new Map(stops).set(toolCallId, decision?.killEpoch ?? 0n)
      : without(stops, toolCallId);
  }
  if (payload.case === "stepFailed" && payload.value.error?.code === killSwitchOn) {
    return new Map(stops).set(payload.value.stepId, 0n);
  }
  if (payload.case === "toolCallStarted" || payload.case === "toolCallDenied") {
    return without(stops, payload.value.toolCallId);
  }
  return payload.case === "stepStarted" ? without(stops, payload.value.stepId) : stops;
}

function without(stops: ReadonlyMap<string, bigint>, id: string): ReadonlyMap<string, bigint> {
  return stops.has(id) ? new Map([...stops].filter(([each]) => each !== id)) : stops;
}
