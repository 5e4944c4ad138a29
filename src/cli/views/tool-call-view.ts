import { type ToolCall, ToolCallStatusSchema, ToolEffectSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { errorText, shorten, shortJson, timeText } from "./values.ts";

/** Tool calls below each other, one line each. */
export function toolCallTable(calls: readonly ToolCall[]): string {
  return table(
    ["CALL", "RUN", "TOOL", "EFFECT", "STATUS", "STARTED", "WHAT"],
    calls.map((call) => [
      call.toolCallId,
      call.runId,
      shorten(call.tool, 40),
      enumName(ToolEffectSchema, call.effect),
      enumName(ToolCallStatusSchema, call.status),
      timeText(call.startTime),
      errorText(call.error, 80) || shortJson(call.result, 80) || shortJson(call.arguments, 80),
    ]),
  );
}

/** Everything that people want to know about a tool call. */
export function toolCallView(call: ToolCall): string {
  return fields([
    ["tool call", call.toolCallId],
    ["run", call.runId],
    ["tool", call.tool],
    ["target", call.target],
    ["effect", enumName(ToolEffectSchema, call.effect)],
    ["status", enumName(ToolCallStatusSchema, call.status)],
    ["approval", call.approvalId],
    ["arguments", shortJson(call.arguments, 2_000)],
    ["result", shortJson(call.result, 2_000)],
    ["error", errorText(call.error, 2_000)],
    ["note", call.note],
    ["started", timeText(call.startTime)],
    ["ended", timeText(call.endTime)],
    ["position", String(call.position)],
  ]);
}
