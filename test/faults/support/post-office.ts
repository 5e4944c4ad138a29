import { appendFileSync, existsSync } from "node:fs";
import { type HandlerContext, type JsonValue, ToolEffect } from "../../../src/engine/worker.ts";
import { defineTool } from "../../../src/tools/define-tool.ts";
import { readJsonLines } from "../../support/history.ts";
import type { Effect } from "./approval-invariants.ts";

/** A mail that was sent: it can not be taken back. */
export interface Mail extends Effect {
  readonly workspaceId: string;
}

/** Where a worker may be killed around the effect. */
export type NearEffect = "before the effect" | "after the effect";

/** Everything that was sent. */
export function sentMails(file: string): Mail[] {
  return existsSync(file) ? readJsonLines<Mail>(file) : [];
}

/**
 * The tool that sends mails, into a file, as often as it is called. It can tell whether a mail was sent. `pass` is called at
 * the points where it may be killed.
 */
export function mailTool(file: string, pass: (point: NearEffect) => void = () => {}) {
  const sent = (toolCallId: string) => sentMails(file).some((mail) => mail.toolCallId === toolCallId);
  return defineTool({
    name: "send_mail",
    description: "Sends a mail.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: { type: "object", properties: { to: { type: "string" }, text: { type: "string" } } },
    target: (args) => `mailto:${(args as { readonly to: string }).to}`,
    run(args, { toolCallId, workspaceId }) {
      pass("before the effect");
      const mail: Mail = { workspaceId, toolCallId, args: args as JsonValue };
      appendFileSync(file, `${JSON.stringify(mail)}\n`);
      pass("after the effect");
      return { sent: true };
    },
    reconcile: async (_args, { toolCallId }) =>
      sent(toolCallId)
        ? { tookEffect: true, result: { sent: true }, note: "it is in the outbox" }
        : { tookEffect: false, note: "it is not in the outbox" },
  });
}

/** Sends one mail. */
export async function writer(ctx: HandlerContext): Promise<JsonValue> {
  const result = await ctx.tool("send_mail", { to: "ada@example.com", text: "hello" });
  return result ?? null;
}
