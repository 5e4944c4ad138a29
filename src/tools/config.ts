import { z } from "zod";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { McpServerOptions } from "./mcp.ts";
import { calculatorPack } from "./packs/calculator.ts";
import { parseHostRule } from "./packs/egress.ts";
import { filesystemReadPack, filesystemWritePack } from "./packs/filesystem.ts";
import { httpPack } from "./packs/http.ts";
import { timePack } from "./packs/time.ts";
import { vectorAddPack, vectorSearchPack } from "./packs/vector.ts";
import type { ToolPack } from "./tool.ts";

const milliseconds = z.int().min(1).max(3_600_000).optional();
const bytes = z
  .int()
  .min(1)
  .max(64 * 1024 * 1024);
const switched = z.boolean().default(true);

const files = z.strictObject({
  maxFileBytes: bytes.max(4 * 1024 * 1024).optional(),
  maxFolderBytes: z.int().min(1).optional(),
  maxEntries: z.int().min(1).max(100_000).optional(),
});

const http = z.strictObject({
  allowHosts: z.array(z.string().refine(isHostRule, "is no host, such as api.example.com or *.example.com")).max(1_000),
  maxBodyBytes: bytes.max(4 * 1024 * 1024).optional(),
  timeoutMs: milliseconds,
});

const packs = z.strictObject({
  calculator: switched,
  time: switched,
  "vector.search": switched,
  "vector.add": switched,
  "filesystem.read": z.union([z.boolean(), files]).default(true),
  "filesystem.write": z.union([z.boolean(), files]).default(true),
  "http.fetch": z.union([z.boolean(), http]).default(true),
});

const effect = z.strictObject({
  effect: z.enum(["read", "write", "external_write"]).optional(),
  idempotent: z.boolean().optional(),
  reversible: z.boolean().optional(),
});

const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is no name of an environment variable");

const common = {
  only: z.array(z.string().min(1)).optional(),
  effects: z.record(z.string(), effect).optional(),
  trustAnnotations: z.boolean().optional(),
  required: z.boolean().optional(),
  timeoutMs: milliseconds,
  connectTimeoutMs: milliseconds,
  maxResultBytes: bytes.max(4 * 1024 * 1024).optional(),
  maxMessageBytes: bytes.optional(),
};

const command = z.strictObject({
  command: z.string().min(1),
  args: z.array(z.string()).optional(),
  cwd: z.string().min(1).optional(),
  env: z.record(variable, z.string()).optional(),
  envFrom: z.record(variable, variable).optional(),
  ...common,
});

const address = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "is no http or https address" }),
  headers: z.record(z.string(), z.string()).optional(),
  headersFrom: z.record(z.string(), variable).optional(),
  ...common,
});

const serverName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/, "is no name: 1 to 32 letters, digits, _ and -");

const configSchema = z.strictObject({
  packs: packs.prefault({}),
  // By what it has, so that problems are told of the right kind.
  mcpServers: z.record(serverName, z.record(z.string(), z.unknown()).transform(serverOf)).default({}),
});

/** Which tools a worker offers, as a file says it: packs, and MCP servers by name. */
export type ToolsConfig = z.output<typeof configSchema>;
type ServerConfig = z.output<typeof command> | z.output<typeof address>;

/** The tools of a worker that no file says anything of: every pack, with no host that may be fetched. */
export const defaultToolsConfig: ToolsConfig = configSchema.parse({});

/** What a file says, or everything that is wrong with it, one line each with the path. `text` is JSON. */
export function parseToolsConfig(
  text: string,
): { readonly config: ToolsConfig } | { readonly problems: readonly string[] } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { problems: [`it is not JSON: ${error instanceof Error ? error.message : String(error)}`] };
  }
  const result = configSchema.safeParse(json);
  if (result.success) return { config: result.data };
  return { problems: result.error.issues.map(({ path, message }) => `${path.join(".") || "the whole"}: ${message}`) };
}

/** The packs that are switched on. `filesDir` holds a folder of files per run. */
export function packsOf({ packs: on }: ToolsConfig, filesDir: string): ToolPack[] {
  return [
    ...(on.calculator ? [calculatorPack()] : []),
    ...(on.time ? [timePack()] : []),
    ...(on["vector.search"] ? [vectorSearchPack()] : []),
    ...(on["vector.add"] ? [vectorAddPack()] : []),
    ...whenOn(on["filesystem.read"], (options) => filesystemReadPack({ ...options, baseDir: filesDir })),
    ...whenOn(on["filesystem.write"], (options) => filesystemWritePack({ ...options, baseDir: filesDir })),
    ...whenOn(on["http.fetch"], (options) => httpPack(options)),
  ];
}

/**
 * The MCP servers to connect to, in the order of the file. `env` has the variables that `envFrom` and `headersFrom` name;
 * `problems` has a line for each that is not set.
 */
export function mcpServersOf(
  { mcpServers }: ToolsConfig,
  env: NodeJS.ProcessEnv,
): { readonly servers: readonly McpServerOptions[]; readonly problems: readonly string[] } {
  const problems: string[] = [];
  function taken(path: string, from: Readonly<Record<string, string>> = {}): Record<string, string> {
    const found = Object.entries(from).map(([key, name]) => {
      if (!env[name]) problems.push(`${path}.${key}: the environment variable ${name} is not set`);
      return [key, env[name] ?? ""] as const;
    });
    return Object.fromEntries(found);
  }
  const servers = Object.entries(mcpServers).map(([name, server]): McpServerOptions => {
    const { effects = {}, ...rest } = server;
    const known = Object.entries(effects).map(([tool, { effect: kind, ...more }]) => {
      return [tool, { ...more, ...(kind === undefined ? {} : { effect: effectsByName[kind] }) }] as const;
    });
    const shared = { ...rest, name, effects: Object.fromEntries(known) };
    if ("command" in server) {
      return {
        ...shared,
        command: server.command,
        env: { ...server.env, ...taken(`mcpServers.${name}.envFrom`, server.envFrom) },
      };
    }
    const headers = { ...server.headers, ...taken(`mcpServers.${name}.headersFrom`, server.headersFrom) };
    return { ...shared, url: server.url, headers };
  });
  return { servers, problems };
}

const effectsByName = {
  read: ToolEffect.READ,
  write: ToolEffect.WRITE,
  external_write: ToolEffect.EXTERNAL_WRITE,
} as const;

function whenOn<Options>(setting: boolean | Options, pack: (options: Partial<Options>) => ToolPack): ToolPack[] {
  if (setting === false) return [];
  return [pack(setting === true ? {} : setting)];
}

function serverOf(value: Record<string, unknown>, context: z.core.$RefinementCtx): ServerConfig {
  const result = ("url" in value ? address : command).safeParse(value);
  if (result.success) return result.data;
  for (const { path, message } of result.error.issues) {
    context.issues.push({ code: "custom", path: [...path], message, input: value });
  }
  return z.NEVER;
}

function isHostRule(text: string): boolean {
  try {
    parseHostRule(text);
    return true;
  } catch {
    return false;
  }
}
