import { type KillSwitch, KillSwitchScopeSchema, type StoppedWrite } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { GetKillSwitchResponse } from "../../../gen/signalbox/v1/policy_service_pb.ts";
import { RunStatusSchema, ToolCallStatusSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { table } from "./table.ts";
import { principalText, shorten, timeText } from "./values.ts";

/** A switch in a line: `workspace  on since 2026-11-21 08:00:00Z by alice, position 4711: why`. */
export function switchText({ scope, on, reason, flipTime, flipBy, position }: KillSwitch): string {
  const name = enumName(KillSwitchScopeSchema, scope).toLowerCase().padEnd(12);
  if (flipTime === undefined) return `${name}  ${on ? "on" : "off"}`;
  const why = reason === "" ? "" : `: ${shorten(reason, 500)}`;
  return `${name}  ${on ? "on" : "off"} since ${timeText(flipTime)} by ${principalText(flipBy)}, position ${position}${why}`;
}

/** The switches, whether external writes go on, and what the newest flip has met, run by run. */
export function statusView(status: GetKillSwitchResponse): string {
  const { workspace, installation, externalWritesStopped, stopped, stoppedCount } = status;
  const switches = [workspace, installation].filter((each) => each !== undefined).map(switchText);
  const verdict = externalWritesStopped ? "external writes are stopped" : "external writes go on";
  const head = [verdict, ...switches].join("\n");
  if (stopped.length === 0) return head;
  const shown = stoppedCount > BigInt(stopped.length) ? `, the first ${stopped.length}` : "";
  const writes = stoppedCount === 1n ? "1 external write was" : `${stoppedCount} external writes were`;
  return `${head}\n\n${writes} met${shown}:\n${stoppedTable(stopped)}`;
}

/** The writes of each run below each other; the runs by their first write. */
function stoppedTable(stopped: readonly StoppedWrite[]): string {
  const byRun = Map.groupBy(stopped, ({ runId }) => runId);
  return table(
    ["RUN", "RUN IS", "CALL OR STEP", "TOOL", "MET", "CALL IS", "SINCE", "POSITION"],
    [...byRun.values()]
      .flat()
      .map((write) => [
        write.runId,
        enumName(RunStatusSchema, write.runStatus),
        write.toolCallId || write.stepId,
        shorten(write.tool, 40),
        write.underWay ? "under way" : "stopped",
        enumName(ToolCallStatusSchema, write.status),
        timeText(write.stopTime),
        String(write.position),
      ]),
  );
}
