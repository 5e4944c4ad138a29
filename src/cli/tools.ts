import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { defaultToolsConfig, mcpServersOf, packsOf, parseToolsConfig, type ToolsConfig } from "../tools/config.ts";
import type { McpServerOptions } from "../tools/mcp.ts";
import { createToolRegistry, type ToolRegistry, type ToolSource } from "../tools/registry.ts";
import { ToolError } from "../tools/tool-error.ts";
import { CliError, exitCodes, usageError } from "./cli-error.ts";
import type { Settings } from "./settings.ts";

/** The tools of a worker. Disposing ends the MCP servers that are children of ours. */
export interface WorkerTools extends AsyncDisposable {
  readonly tools: ToolRegistry;
}

/** What is read when no file is named, if it is there. */
const defaultFile = "signalbox.tools.json";

/**
 * The tools that the file of the settings switches on, all packs without one; files of runs are kept in the data folder.
 * Throws a CliError that lists everything that is wrong with the file, and for an MCP server that is required and away.
 */
export async function openTools(
  { toolsFile, dataDir }: Pick<Settings, "toolsFile" | "dataDir">,
  env: NodeJS.ProcessEnv,
  log: Logger,
): Promise<WorkerTools> {
  const path = toolsFile ?? defaultFile;
  const config = await readConfig(path, toolsFile !== undefined);
  const { servers, problems } = mcpServersOf(config, env);
  if (problems.length > 0) throw badFile(path, problems);
  const packs = packsOf(config, resolve(join(dataDir, "files")));
  await using opening = new AsyncDisposableStack();
  const sources = await Promise.all(servers.map((server) => openServer(server, opening, log)));
  const tools = createToolRegistry(
    packs.flatMap((pack) => pack.tools),
    sources,
  );
  log.info({ tools: tools.list().map(({ name }) => name) }, "tools offered");
  const open = opening.move();
  return { tools, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function readConfig(path: string, isNamed: boolean): Promise<ToolsConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (isMissing && !isNamed) return defaultToolsConfig;
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`the file of tools ${path} can not be read: ${cause}`, "SIGNALBOX_TOOLS_FILE names it.");
  }
  const parsed = parseToolsConfig(text);
  if ("problems" in parsed) throw badFile(path, parsed.problems);
  return parsed.config;
}

async function openServer(server: McpServerOptions, opening: AsyncDisposableStack, log: Logger): Promise<ToolSource> {
  // Loaded by those who use it only: it takes a fifth of a second.
  const { openMcpTools } = await import("../tools/mcp.ts");
  try {
    return opening.use(await openMcpTools(server, log));
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    const hint = 'Set "required": false to start without it; its tools come when it does.';
    throw new CliError(error.message, hint, exitCodes.failed, { cause: error });
  }
}

function badFile(path: string, problems: readonly string[]): CliError {
  const message = [`the file of tools ${path} can not be used:`, ...problems].join("\n  ");
  return usageError(message, 'For example {"packs": {"http.fetch": {"allowHosts": ["api.example.com"]}}}.');
}
