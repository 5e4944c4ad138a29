import { NotJsonError, jsonValue } from "../client/json.ts";
import { compileSchema, listProblems } from "./schema.ts";
import type { Tool } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/** The tools that a worker has. */
export interface ToolRegistry {
  /** The tool with this name, undefined when there is none. */
  get(name: string): Tool | undefined;
  /** Every tool, by name. */
  list(): readonly Tool[];
  /**
   * Undefined when the tool may be called so; absent arguments count as `{}`. Else the ToolError to throw or to show to
   * a model: TOOL_NOT_FOUND, or TOOL_ARGUMENTS_INVALID with a line per problem, each with its path.
   */
  check(name: string, args: unknown): ToolError | undefined;
}

/** Tools that can change while a worker runs. */
export interface ToolSource {
  /** What there is now. */
  tools(): readonly Tool[];
}

/**
 * The registry of `tools` and of what `sources` have at the time of asking; a name belongs to the first who has it. Throws
 * a TypeError for two `tools` of one name, and a ToolError TOOL_SCHEMA_INVALID for a schema that can not be used.
 */
export function createToolRegistry(tools: Iterable<Tool>, sources: readonly ToolSource[] = []): ToolRegistry {
  const own = new Map<string, Tool>();
  for (const tool of tools) {
    if (own.has(tool.name)) throw new TypeError(`there are two tools named ${tool.name}; give one another name`);
    compileSchema(tool.inputSchema);
    own.set(tool.name, tool);
  }

  function get(name: string): Tool | undefined {
    const found = own.get(name);
    if (found !== undefined) return found;
    for (const source of sources) {
      const tool = source.tools().find((item) => item.name === name);
      if (tool !== undefined) return tool;
    }
    return undefined;
  }

  function list(): readonly Tool[] {
    const all = new Map(own);
    for (const tool of sources.flatMap((source) => source.tools())) {
      if (!all.has(tool.name)) all.set(tool.name, tool);
    }
    return [...all.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  return {
    get,
    list,
    check(name, args) {
      const tool = get(name);
      return tool === undefined ? notFound(name, list()) : checkArguments(tool, args);
    },
  };
}

/** What stands against calling the tool with these arguments; undefined when nothing does. */
export function checkArguments(tool: Tool, args: unknown = {}): ToolError | undefined {
  try {
    jsonValue(args, "arguments");
    const problems = compileSchema(tool.inputSchema)(args);
    return problems.length === 0
      ? undefined
      : new ToolError("TOOL_ARGUMENTS_INVALID", listProblems(tool.name, problems));
  } catch (error) {
    if (error instanceof ToolError) return error;
    if (!(error instanceof NotJsonError)) throw error;
    return new ToolError("TOOL_ARGUMENTS_INVALID", error.message, { cause: error });
  }
}

function notFound(name: string, tools: readonly Tool[]): ToolError {
  const names = tools.slice(0, 50).map((tool) => tool.name);
  const more = tools.length > names.length ? ` and ${tools.length - names.length} more` : "";
  const known = names.length === 0 ? "this worker has none" : `there are ${names.join(", ")}${more}`;
  return new ToolError("TOOL_NOT_FOUND", `there is no tool ${JSON.stringify(name.slice(0, 200))}; ${known}`);
}
