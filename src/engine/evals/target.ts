import { durationMs } from "@bufbuild/protobuf/wkt";
import type { AgentTarget, EvalTarget } from "../../../gen/signalbox/v1/eval_pb.ts";
import type { ChildRun, HandlerContext } from "../handler.ts";
import { HandlerError } from "../handler-error.ts";

/** What a trial runs. */
export interface OpenTarget {
  /** What every trial's run is created with, apart from its input. */
  readonly child: Omit<ChildRun, "input" | "name">;
  /** To be called when all trials have ended. */
  close(): Promise<void>;
}

const nothingToClose = () => Promise.resolve();
const retry = { maxAttempts: 5 };

/** The runs that a target stands for; undefined for runs on record. Makes a copy of an agent that is to be changed. */
export async function openTarget(
  ctx: HandlerContext,
  { target, ...terms }: EvalTarget,
): Promise<OpenTarget | undefined> {
  const common = {
    queue: terms.queue,
    ...(terms.maxDuration === undefined ? {} : { maxDurationMs: durationMs(terms.maxDuration) }),
    ...(terms.budget === undefined ? {} : { budget: terms.budget }),
  };
  switch (target.case) {
    case "handler":
      return { child: { ...common, handler: target.value }, close: nothingToClose };
    case "agent":
      return openAgent(ctx, target.value, common);
    case "recorded":
      return undefined;
    case undefined:
      throw new HandlerError("INVALID_INPUT", "the evaluation has no target", { retryable: false });
  }
}

async function openAgent(ctx: HandlerContext, target: AgentTarget, common: OpenTarget["child"]): Promise<OpenTarget> {
  const { agentId, model, instructions } = target;
  if (model === undefined && instructions === undefined) {
    return { child: { ...common, agentId }, close: nothingToClose };
  }
  const copyId = await ctx.step("copy of the agent", () => copyAgent(ctx, target), { retry });
  return {
    child: { ...common, agentId: copyId },
    close: () => ctx.step("archive the copy", () => archiveAgent(ctx, copyId), { retry }),
  };
}

async function copyAgent({ client, currentRun, signal }: HandlerContext, target: AgentTarget): Promise<string> {
  const { agentId, model, instructions } = target;
  const { agent } = await client.agents.getAgent({ agentId }, { signal });
  if (agent === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer to GetAgent has no agent");
  const { handler, tools, zone, limits, memory, inputSchema, outputSchema } = agent;
  const kept = { handler, tools, zone, limits, memory, inputSchema, outputSchema };
  const { agent: copy } = await client.agents.createAgent(
    {
      ...kept,
      // Without its preset: who asks for the newest agent of that does not mean this one.
      name: `${agent.name.slice(0, 400).toWellFormed()} (evaluation ${currentRun.runId})`,
      model: model ?? agent.model,
      instructions: instructions ?? agent.instructions,
      requestId: `evaluate/${currentRun.runId}`,
    },
    { signal },
  );
  if (copy === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer to CreateAgent has no agent");
  return copy.agentId;
}

async function archiveAgent({ client, signal }: HandlerContext, agentId: string): Promise<void> {
  await client.agents.archiveAgent({ agentId }, { signal });
}
