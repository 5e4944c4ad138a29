import { RunStatus, RunStatusSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import type { Compaction, Session, Turn } from "../../../gen/signalbox/v1/session_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { fields, table } from "./table.ts";
import { saidText, shorten, timeText } from "./values.ts";

/** Sessions below each other, one line each. */
export function sessionTable(sessions: readonly Session[]): string {
  return table(
    ["SESSION", "RUNS", "LAST RUN", "CREATED", "CHANGED"],
    sessions.map((session) => [
      session.sessionId,
      String(session.runCount),
      session.lastRunId,
      timeText(session.createTime),
      timeText(session.updateTime),
    ]),
  );
}

/** Everything that people want to know about a session. */
export function sessionView(session: Session): string {
  const { compaction } = session;
  return fields([
    ["session", session.sessionId],
    ["runs", String(session.runCount)],
    ["last run", session.lastRunId],
    ["summary", compaction === undefined ? "" : shorten(compaction.summary, 2_000)],
    ["stands for", compaction === undefined ? "" : `${compaction.turnCount} turns up to ${compaction.throughRunId}`],
    ["created", timeText(session.createTime)],
    ["changed", timeText(session.updateTime)],
    ["position", String(session.position)],
  ]);
}

/** A conversation: what was asked behind `>`, then what was answered; what has no answer says where its run stands. */
export function historyText(turns: readonly Turn[], compaction: Compaction | undefined): string {
  if (turns.length === 0) return "nothing was said";
  return turns.map((turn) => `${turnText(turn)}${summaryText(turn, compaction)}`).join("\n\n");
}

function turnText({ runId, status, input, output, createTime }: Turn): string {
  const asked = saidText(input)
    .split("\n")
    .map((line) => `> ${line}`.trimEnd());
  const answered = status === RunStatus.SUCCEEDED ? saidText(output) : `(${enumName(RunStatusSchema, status)})`;
  return [`${timeText(createTime)}  ${runId}`, ...asked, ...(answered === "" ? [] : [answered])].join("\n");
}

/** What the agent is told in place of the turns up to this one. */
function summaryText({ runId }: Turn, compaction: Compaction | undefined): string {
  if (compaction?.throughRunId !== runId) return "";
  return `\n\n--- for the agent, the ${compaction.turnCount} turns up to here are summarised:\n${compaction.summary}\n---`;
}
