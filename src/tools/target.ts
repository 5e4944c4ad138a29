import type { Tool } from "./tool.ts";

const maxLength = 1_000;

/** What a call of the tool is done to, cut to 1,000 characters; empty when the tool does not say. Throws what the tool throws. */
export function targetOf({ target }: Tool, args: unknown = {}): string {
  return (target?.(args) ?? "").slice(0, maxLength).toWellFormed();
}
