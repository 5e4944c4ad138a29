import type { Tool as McpTool } from "@modelcontextprotocol/client";
import { openMcpConnection } from "./mcp-connection.ts";
import { type McpEffect, mcpTool, type McpToolOptions } from "./mcp-tool.ts";
import { createTransport, type McpServerPlace } from "./mcp-transport.ts";
import type { ToolSource } from "./registry.ts";
import type { Tool, ToolLog } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/** An MCP server whose tools are to be used. */
export type McpServerOptions = McpServerPlace & {
  /** Stands before the names of its tools: 1 to 32 letters, digits, `_` and `-`. */
  readonly name: string;
  /** What the operator knows of its tools, by the names that the server gives them. */
  readonly effects?: Readonly<Record<string, McpEffect>> | undefined;
  /** The tools to take, by the names that the server gives them; default all. */
  readonly only?: readonly string[] | undefined;
  /** Whether to believe what the server hints at (readOnlyHint, idempotentHint, destructiveHint), default true. */
  readonly trustAnnotations?: boolean | undefined;
  /** Milliseconds for a call, default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds for connecting, and for a sign of life, default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** The first pause before a reconnect, default 500; it doubles up to 30,000. */
  readonly restartDelayMs?: number | undefined;
  /** The most bytes of JSON of a result, default 256 KiB. */
  readonly maxResultBytes?: number | undefined;
  /** The most bytes of a message of the server; one that is larger ends the connection. Default 4 MiB. */
  readonly maxMessageBytes?: number | undefined;
  /** Whether opening fails when the first connect does, default true; else the tools come when the server does. */
  readonly required?: boolean | undefined;
};

/** The tools of an MCP server, kept up to date. Disposing ends the connection, and the server that is a child. */
export interface McpTools extends ToolSource, AsyncDisposable {
  readonly name: string;
  /** The tools of the server that can not be used now, and why. */
  rejected(): readonly RejectedTool[];
}

/** A tool that can not be used. */
export interface RejectedTool {
  /** As the server names it. */
  readonly tool: string;
  readonly problem: string;
}

const maxTools = 500;

/**
 * Connects to an MCP server and offers its tools as `<name>.<tool>`. A server that goes away is connected to again, a
 * child started again, after a pause that grows; calls wait for that up to a connect time. What the server sends is not
 * trusted: a tool with a bad name or schema is rejected, the others stay.
 * Throws a TypeError for a bad name or URL, and a ToolError MCP_UNAVAILABLE when a required server is not there.
 */
export async function openMcpTools(options: McpServerOptions, log: ToolLog): Promise<McpTools> {
  const { name, maxMessageBytes = 4 * 1024 * 1024 } = options;
  const { connectTimeoutMs = 10_000, restartDelayMs = 500, required = true } = options;
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(name)) {
    throw new TypeError(`an MCP server is named with 1 to 32 letters, digits, _ and -; got ${JSON.stringify(name)}`);
  }
  if ("url" in options && !/^https?:$/.test(URL.parse(options.url)?.protocol ?? "")) {
    throw new TypeError(
      `the url of MCP server ${name} must be an http or https one; got ${JSON.stringify(options.url)}`,
    );
  }
  let offered: Offer = { tools: [], rejected: [] };
  const connection = openMcpConnection({
    name,
    log,
    connectTimeoutMs,
    restartDelayMs,
    createTransport: () => createTransport(options, maxMessageBytes, log),
    onTools(definitions) {
      offered = offerOf(definitions, options, toolOptions);
      const rejected = offered.rejected.map(({ tool, problem }) => `${tool.slice(0, 100)}: ${problem.slice(0, 500)}`);
      if (rejected.length > 0) log.warn({ mcp_server: name, rejected }, "tools of an MCP server can not be used");
    },
  });
  const toolOptions: Omit<McpToolOptions, "known"> = {
    server: name,
    connection,
    trustAnnotations: options.trustAnnotations ?? true,
    timeoutMs: options.timeoutMs ?? 30_000,
    maxResultBytes: options.maxResultBytes ?? 256 * 1024,
  };
  try {
    await connection.first;
  } catch (error) {
    if (required) {
      await connection[Symbol.asyncDispose]();
      throw error;
    }
  }
  return {
    name,
    tools: () => offered.tools,
    rejected: () => offered.rejected,
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

interface Offer {
  readonly tools: readonly Tool[];
  readonly rejected: readonly RejectedTool[];
}

function offerOf(
  definitions: readonly McpTool[],
  { only, effects = {} }: McpServerOptions,
  options: Omit<McpToolOptions, "known">,
): Offer {
  const wanted = definitions.filter(({ name }) => only === undefined || only.includes(name));
  const tools = new Map<string, Tool>();
  const rejected: RejectedTool[] = [];
  for (const definition of wanted) {
    const { name } = definition;
    try {
      if (tools.has(name)) throw new TypeError("there is another tool of this name");
      if (tools.size >= maxTools) throw new RangeError(`the server has more than ${maxTools} tools`);
      const known = Object.hasOwn(effects, name) ? effects[name] : undefined;
      tools.set(name, mcpTool(definition, { ...options, known: known ?? {} }));
    } catch (error) {
      if (!(error instanceof ToolError || error instanceof TypeError || error instanceof RangeError)) throw error;
      rejected.push({ tool: name, problem: error.message });
    }
  }
  for (const name of only ?? []) {
    if (!definitions.some((definition) => definition.name === name)) {
      rejected.push({ tool: name, problem: "the server does not have it" });
    }
  }
  return { tools: [...tools.values()], rejected };
}
