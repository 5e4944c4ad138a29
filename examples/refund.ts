import { type Handler, ToolEffect, type ToolOutcome } from "signalbox/worker";
import { z } from "zod";

export interface Bank {
  /** The transfer that was made under this key; undefined when there was none. */
  find(key: string): Promise<string | undefined>;
  transfer(key: string, cents: number): Promise<string>;
}

const approved = z.object({ cents: z.int().min(1) });

/** Pays money back once somebody has approved it. */
export function refund(bank: Bank): Handler {
  return async (ctx) => {
    for (const { key, toolCallId } of ctx.unknownToolCalls) {
      const transfer = await bank.find(toolCallId);
      const outcome: ToolOutcome =
        transfer === undefined
          ? { tookEffect: false, note: "the bank has no such transfer" }
          : { tookEffect: true, result: transfer, note: "found at the bank" };
      await ctx.reconcile(key, outcome);
    }
    const tool = { tool: "bank.transfer", effect: ToolEffect.EXTERNAL_WRITE, args: { cents: 1200 } };
    // The arguments are what was approved: somebody may have changed the amount.
    return ctx.tool("refund", tool, ({ toolCallId }, args) => bank.transfer(toolCallId, approved.parse(args).cents));
  };
}
