import { expect } from "vitest";
import type { SignalboxClient } from "../../src/client/clients.ts";
import { runTool } from "../../src/tools/run-tool.ts";
import type { Tool, ToolLog, ToolPack, ToolScope } from "../../src/tools/tool.ts";
import { ToolError } from "../../src/tools/tool-error.ts";

/** What a log was told. */
export interface RecordedLog extends ToolLog {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: object }[];
}

/** A log that keeps its lines. */
export function recordingLog(): RecordedLog {
  const lines: RecordedLog["lines"] = [];
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, fields });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** What a tool call has to work with; without a server unless one is given. */
export function scopeOf(fields: Partial<ToolScope> = {}): ToolScope {
  return {
    toolCallId: "tc_01JABCDEFGHJKMNPQRSTVWXYZ0",
    runId: "run_01JABCDEFGHJKMNPQRSTVWXYZ0",
    workspaceId: "ws_test",
    signal: new AbortController().signal,
    log: recordingLog(),
    client: {} as SignalboxClient,
    addUsage() {},
    ...fields,
  };
}

/** The tool of a pack. */
export function toolOf(pack: ToolPack, name: string): Tool {
  const tool = pack.tools.find((item) => item.name === name);
  if (tool === undefined) throw new Error(`the pack ${pack.name} has no tool ${name}`);
  return tool;
}

/** What calling the tool gives, as a worker calls it. */
export async function resultOf(tool: Tool, args: unknown, scope: ToolScope = scopeOf()): Promise<unknown> {
  return runTool(tool, args, scope);
}

/** The ToolError that calling the tool throws. Throws when there is none. */
export async function errorOf(tool: Tool, args: unknown, scope: ToolScope = scopeOf()): Promise<ToolError> {
  return toolErrorOf(runTool(tool, args, scope));
}

/** The ToolError that a promise rejects with. Throws when it does not. */
export async function toolErrorOf(promise: Promise<unknown>): Promise<ToolError> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome && outcome.error instanceof ToolError) return outcome.error;
  throw new Error("there was no ToolError", { cause: outcome });
}

/** Matches a text with `part` in it. */
export function textWith(part: string): unknown {
  return expect.stringContaining(part);
}
