import { createHash } from "node:crypto";
import {
  type CallToolResult,
  ProtocolError,
  ProtocolErrorCode,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  type Tool as McpTool,
} from "@modelcontextprotocol/client";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "./define-tool.ts";
import type { McpConnection } from "./mcp-connection.ts";
import { compileSchema, type SchemaCheck } from "./schema.ts";
import type { Tool, ToolScope } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/** What the operator knows of a tool of an MCP server; it wins over what the server says. */
export interface McpEffect {
  readonly effect?: ToolEffect | undefined;
  readonly idempotent?: boolean | undefined;
  readonly reversible?: boolean | undefined;
}

/** What a tool is made of, besides what its server says of it. */
export interface McpToolOptions {
  /** Stands before the name, with a dot between. */
  readonly server: string;
  readonly connection: McpConnection;
  readonly known: McpEffect;
  /** Whether the server's hints are believed. */
  readonly trustAnnotations: boolean;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
}

const maxDescriptionLength = 4_000;
const internalError: number = ProtocolErrorCode.InternalError;

/**
 * The tool of an MCP server as one of ours. What the operator does not know, and the server does not hint at, counts as
 * the worst: an external write that must not be repeated. Throws what defineTool throws for a definition that is nonsense.
 */
export function mcpTool(definition: McpTool, options: McpToolOptions): Tool {
  const { name, description = "", inputSchema } = definition;
  const { server, connection, timeoutMs, maxResultBytes } = options;
  const checkOutput = outputCheck(definition);
  const { effect, idempotent, reversible } = effectOf(definition, options);
  const tool: Tool = defineTool({
    name: `${server}.${name}`,
    description: description.slice(0, maxDescriptionLength).toWellFormed(),
    version: createHash("sha256").update(JSON.stringify(definition)).digest("hex").slice(0, 16),
    effect,
    idempotent,
    reversible,
    timeoutMs,
    maxResultBytes,
    input: inputSchema,
    looseSchema: true,
    target: () => `mcp:${server}`,
    async run(args, scope): Promise<unknown> {
      const value = await call(definition, tool, connection, args, scope);
      const [problem] = checkOutput(value);
      if (problem === undefined) return value;
      const message = `${tool.name} answered what it does not promise: ${problem.path} ${problem.message}`;
      throw new ToolError("MCP_BAD_ANSWER", message, { outcomeUnknown: !tool.idempotent });
    },
  });
  return tool;
}

/** Holds an answer against what the tool promises. Done here, as the library would say that the arguments were wrong. */
function outputCheck({ outputSchema }: McpTool): SchemaCheck {
  return outputSchema === undefined ? () => [] : compileSchema(outputSchema, { anyType: true, name: "result" });
}

function effectOf({ annotations }: McpTool, { known, trustAnnotations }: McpToolOptions): Required<McpEffect> {
  const hints = trustAnnotations ? (annotations ?? {}) : {};
  const reads = hints.readOnlyHint === true && hints.destructiveHint !== true;
  const effect = known.effect ?? (reads ? ToolEffect.READ : ToolEffect.EXTERNAL_WRITE);
  const idempotent = known.idempotent ?? (effect === ToolEffect.READ || hints.idempotentHint === true);
  // That something is not destructive does not mean that it can be undone: an e-mail is sent.
  return { effect, idempotent, reversible: known.reversible ?? false };
}

async function call(
  definition: McpTool,
  tool: Tool,
  connection: McpConnection,
  args: unknown,
  scope: ToolScope,
): Promise<unknown> {
  const client = await connection.client(scope.signal);
  try {
    const result = await client.callTool(
      { name: definition.name, arguments: args as Record<string, unknown> },
      // The signal ends it first, so that there is one message for being late.
      { signal: scope.signal, timeout: tool.timeoutMs + 5_000, toolDefinition: withoutOutput(definition) },
    );
    return valueOf(tool, result);
  } catch (error) {
    if (error instanceof ToolError) throw error;
    if (!(error instanceof ProtocolError)) connection.suspect(client);
    scope.signal.throwIfAborted();
    throw failureOf(tool, error);
  }
}

function withoutOutput({ outputSchema: _own, ...definition }: McpTool): McpTool {
  return definition;
}

function valueOf({ name }: Tool, { content, structuredContent, isError }: CallToolResult): unknown {
  const texts = content.map((item) => (item.type === "text" ? item.text : undefined));
  if (isError === true) {
    const text = texts.filter((item) => item !== undefined).join("\n");
    throw new ToolError("MCP_TOOL_FAILED", text.slice(0, 5_000).toWellFormed() || `${name} says that it failed`);
  }
  if (structuredContent !== undefined) return structuredContent;
  return texts.every((item) => item !== undefined) ? texts.join("\n") : content;
}

/** Whether a call that failed so can have reached the tool, and whether another one can be better. */
function failureOf({ name, idempotent }: Tool, error: unknown): ToolError {
  const { code, reached, retryable } = kindOf(error);
  const why = error instanceof Error ? messageOf(error) : String(error);
  const message = `${name} could not be called: ${why.slice(0, 2_000).toWellFormed()}`;
  return new ToolError(code, message, { retryable, outcomeUnknown: reached && !idempotent, cause: error });
}

interface FailureKind {
  readonly code: string;
  readonly reached: boolean;
  readonly retryable: boolean;
}

const refused: FailureKind = { code: "MCP_REFUSED", reached: false, retryable: false };
const away: FailureKind = { code: "MCP_UNAVAILABLE", reached: false, retryable: true };
const lost: FailureKind = { code: "MCP_CONNECTION_LOST", reached: true, retryable: true };

function kindOf(error: unknown): FailureKind {
  if (error instanceof ProtocolError) {
    return error.code === internalError ? { ...refused, reached: true } : refused;
  }
  if (error instanceof SdkHttpError) {
    const { status } = error;
    // A session that the server has forgotten is a 404; the next connection has a new one.
    if (status === 404 || status === 429) return away;
    return status < 500 ? refused : lost;
  }
  if (error instanceof SdkError) {
    const { NotConnected, CapabilityNotSupported, InvalidResult, UnsupportedResultType } = SdkErrorCode;
    // What a server can do is forgotten when its connection ends.
    if (error.code === NotConnected || error.code === CapabilityNotSupported) return away;
    if (error.code === InvalidResult) return { code: "MCP_BAD_ANSWER", reached: true, retryable: false };
    return error.code === UnsupportedResultType ? refused : lost;
  }
  const cause = error instanceof Error ? error.cause : undefined;
  const neverSent =
    cause instanceof Error && "code" in cause && ["ECONNREFUSED", "ENOTFOUND"].includes(String(cause.code));
  return neverSent ? away : lost;
}

function messageOf(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
