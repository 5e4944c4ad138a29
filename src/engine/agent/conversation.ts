import type { Turn } from "../../../gen/signalbox/v1/session_pb.ts";
import { RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { type JsonValue, valueToJson } from "../../client/json.ts";
import { reasonOf } from "../../client/reason.ts";
import type { ModelMessage } from "../../models/model.ts";
import type { HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";
import type { AgentConfiguration } from "./configuration.ts";

/** An earlier question of the session and its answer. */
export type PastTurn = { readonly runId: string; readonly asked: string; readonly answered: string };

/** What is known of the session before this run. All of it is JSON. */
export type History = {
  /** What stands for the turns before those below; empty for none. */
  readonly summary: string;
  /** How many turns come before those below: the summary stands for them, but for what had to be left out. */
  readonly earlier: number;
  /** Oldest first. */
  readonly turns: readonly PastTurn[];
};

/** Nothing is known. */
export const noHistory: History = { summary: "", earlier: 0, turns: [] };

/** More than most models read; older turns are left out, so that the history and its summary fit into a record. */
const maxHistoryBytes = 500_000;
/** What the record of a turn takes beside its words, at most. */
const turnOverheadBytes = 128;
const pageSize = 200;

/** The turns of the run's session that have been answered, without those that a summary stands for. */
export async function loadHistory({ client, currentRun, signal }: HandlerContext): Promise<History> {
  const { sessionId, runId, position } = currentRun;
  const of = { sessionId, minPosition: position };
  try {
    const { session } = await client.sessions.getSession(of, { signal });
    const { summary = "", turnCount = 0, throughRunId = "" } = session?.compaction ?? {};
    let turns: PastTurn[] = [];
    let earlier = turnCount;
    let pageToken = "";
    do {
      const request = { ...of, afterRunId: throughRunId, pageSize, pageToken };
      const page = await client.sessions.getSessionHistory(request, { signal });
      const answered = page.turns.filter((turn) => turn.runId !== runId && turn.status === RunStatus.SUCCEEDED);
      const known = [...turns, ...answered.map(past)];
      // With every page, so that a session without end does not have to fit into memory.
      turns = newest(known);
      earlier += known.length - turns.length;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return { summary, earlier, turns };
  } catch (error) {
    if (reasonOf(error) === "SESSION_NOT_FOUND") return noHistory;
    throw error;
  }
}

/** The conversation to begin with: instructions, what is known of the session, and what is asked now. */
export function openingMessages(
  { instructions }: Pick<AgentConfiguration, "instructions">,
  { summary, turns }: History,
  asked: string,
): ModelMessage[] {
  // One message: providers take only one, and at the beginning.
  const system = [instructions, summary === "" ? "" : `What was said before, in short:\n${summary}`].filter(Boolean);
  return [
    ...(system.length === 0 ? [] : [{ role: "system", text: system.join("\n\n") } as const]),
    ...turns.flatMap((turn) => [
      { role: "user", text: turn.asked } as const,
      { role: "assistant", text: turn.answered } as const,
    ]),
    { role: "user", text: asked },
  ];
}

/** What an input asks: a text, an object's `text`, or the JSON as it is. Throws INVALID_INPUT, not retryable, for nothing. */
export function questionOf(input: JsonValue | undefined): string {
  const text = input === undefined || input === null ? "" : textOf(input);
  if (text.trim() !== "") return text;
  const message = 'the agent was asked nothing; give a text as the input, for example "What is a run?"';
  throw new HandlerError("INVALID_INPUT", message, { retryable: false });
}

/** What an output answers: a text, an object's `text`, or the JSON as it is; empty for none. */
export function answerText(output: JsonValue | undefined): string {
  return output === undefined ? "" : textOf(output);
}

/** The pieces of documents that an agent's output cites; empty for any other output. */
export function citationsOf(output: JsonValue | undefined): { citations?: JsonValue[] } {
  if (typeof output !== "object" || output === null || Array.isArray(output)) return {};
  const { citations } = output;
  return Array.isArray(citations) ? { citations } : {};
}

function textOf(value: JsonValue): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const { text } = value;
    if (typeof text === "string") return text;
  }
  return JSON.stringify(value);
}

function past({ runId, input, output }: Turn): PastTurn {
  const asked = valueToJson(input);
  return { runId, asked: asked === undefined ? "" : textOf(asked), answered: answerText(valueToJson(output)) };
}

function newest(turns: readonly PastTurn[]): PastTurn[] {
  let bytes = 0;
  const last = turns.findLastIndex(({ asked, answered }) => {
    bytes += turnOverheadBytes + Buffer.byteLength(asked) + Buffer.byteLength(answered);
    return bytes > maxHistoryBytes;
  });
  return turns.slice(last + 1);
}
