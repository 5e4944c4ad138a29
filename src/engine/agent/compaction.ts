import { reasonOf } from "../../client/reason.ts";
import type { HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";
import type { AgentConfiguration } from "./configuration.ts";
import type { History, PastTurn } from "./conversation.ts";

/** What is to be summarised. */
export interface SummaryRequest {
  /** The agent's model. */
  readonly model: string;
  /** What stood for the turns before; empty for none. It has to be in the new summary. */
  readonly summary: string;
  /** Oldest first, at least one. */
  readonly turns: readonly PastTurn[];
}

/** Makes a summary, through commands of `ctx`; empty to leave the session as it is. */
export type Summarise = (ctx: HandlerContext, request: SummaryRequest) => Promise<string>;

/** The most characters that the record takes. */
const maxSummaryLength = 100_000;

const summaryInstructions =
  "Summarise the conversation for the assistant that will go on with it. Keep names, numbers, decisions, wishes of the user and what is still open; leave out how it was said. Answer with the summary alone.";

/** Asks the agent's own model. */
export const summariseByModel: Summarise = async (ctx, { model, summary, turns }) => {
  const said = turns.map(({ asked, answered }) => `User: ${asked}\nAssistant: ${answered}`);
  const text = [...(summary === "" ? [] : [`Before: ${summary}`]), ...said].join("\n\n");
  const messages = [{ role: "system", text: summaryInstructions } as const, { role: "user", text } as const];
  return (await ctx.model({ model, messages }, { name: "summary", stream: false })).text;
};

/**
 * Records a summary of the session's older turns when the history has grown beyond what the agent keeps. `tokens` is its
 * size as the model counted it last. What goes wrong is logged: the answer is there already, and the next run tries again.
 */
export async function compact(
  ctx: HandlerContext,
  summarise: Summarise,
  { model, compactAfterTokens, keepTurns }: AgentConfiguration,
  history: History,
  tokens: number,
): Promise<void> {
  if (compactAfterTokens === 0 || tokens <= compactAfterTokens) return;
  // This run is the newest turn.
  const turns = history.turns.slice(0, Math.max(0, history.turns.length - keepTurns + 1));
  const last = turns.at(-1);
  if (last === undefined) return;
  const { sessionId } = ctx.currentRun;
  const turnCount = history.earlier + turns.length;
  try {
    const summary = (await summarise(ctx, { model, summary: history.summary, turns }))
      .trim()
      .slice(0, maxSummaryLength);
    if (summary === "") return;
    const request = { sessionId, summary: summary.toWellFormed(), throughRunId: last.runId, turnCount };
    await ctx.step("compact", ({ signal }) => record(ctx, request, signal), { input: { turnCount, tokens } });
  } catch (error) {
    if (!(error instanceof HandlerError) || error.code === "NON_DETERMINISTIC") throw error;
    ctx.log.warn({ err: error }, "the session could not be compacted");
  }
}

async function record(
  { client }: HandlerContext,
  request: Parameters<HandlerContext["client"]["sessions"]["compactSession"]>[0],
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.sessions.compactSession(request, { signal });
    return true;
  } catch (error) {
    // Another run of the session was faster.
    if (reasonOf(error) === "INVALID_STATE") return false;
    throw error;
  }
}
