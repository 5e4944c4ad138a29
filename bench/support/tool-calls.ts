import type { Value } from "@bufbuild/protobuf/wkt";
import { ToolEffect } from "../../src/client/client.ts";
import { jsonValue } from "../../src/client/json.ts";

/** A tool call as workers ask for it, in a workspace with a policy of its own. */
export interface ToolCallKind {
  readonly name: string;
  readonly workspaceId: string;
  /** The rules; empty for the default table alone. */
  readonly cedar: string;
  readonly call: ToolCall;
}

interface ToolCall {
  readonly tool: string;
  readonly effect: ToolEffect;
  readonly reversible: boolean;
  readonly idempotent: boolean;
  readonly arguments: Value;
}

const read: ToolCall = {
  tool: "benchmark.call",
  effect: ToolEffect.READ,
  reversible: false,
  idempotent: true,
  arguments: jsonValue({ text: "signalbox".repeat(24) }),
};
const save: ToolCall = { ...read, effect: ToolEffect.WRITE, reversible: true, idempotent: false };
const send: ToolCall = { ...read, effect: ToolEffect.EXTERNAL_WRITE, idempotent: false };

const permission = `@id("calls") permit (principal, action, resource == Tool::"benchmark.call");`;
/** None matches, and none is left out because of its head alone. */
const fiftyRules = Array.from(
  { length: 50 },
  (_, n) =>
    `@id("rule-${n}") forbid (principal, action, resource) when { context.type like "*.tool-${n}" && context.zone != "sandbox" };`,
).join("\n");

/** The kinds of calls, each let through by its policy. */
export const toolCallKinds = {
  read: { name: "READ", workspaceId: "ws_read", cedar: "", call: read },
  write: { name: "WRITE in the sandbox", workspaceId: "ws_write", cedar: "", call: save },
  external: { name: "EXTERNAL_WRITE that is permitted", workspaceId: "ws_external", cedar: permission, call: send },
  ruled: { name: "READ past 50 rules", workspaceId: "ws_ruled", cedar: fiftyRules, call: read },
} as const satisfies Record<string, ToolCallKind>;

/** The name of a kind. */
export type ToolCallKindName = keyof typeof toolCallKinds;

/** A call that is held back until people have decided. */
export const heldBack: ToolCallKind = { name: "held back", workspaceId: "ws_asks", cedar: "", call: send };
