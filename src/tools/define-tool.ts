import { z } from "zod";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { compileSchema, listProblems, pathOf } from "./schema.ts";
import type { JsonSchema, Tool, ToolOutcome, ToolScope } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/** What every definition of a tool says; see Tool for what the fields mean. */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  /** Default `1`. */
  readonly version?: string;
  readonly effect: ToolEffect;
  /** Default true for a tool that reads, else false. */
  readonly idempotent?: boolean;
  /** Default false. */
  readonly reversible?: boolean;
  /** 1 to 86,400,000, default 30,000. */
  readonly timeoutMs?: number;
  /** 1 to 4 MiB, default 256 KiB; the server has a limit of its own, 1 MiB by default. */
  readonly maxResultBytes?: number;
}

/** A tool whose arguments zod describes: `run` gets what the schema makes of them, defaults filled in. */
export interface ZodToolDefinition<Input extends z.ZodType> extends ToolDefinition {
  /** An object; it takes no properties that it does not name, unless it is a loose one. */
  readonly input: Input;
  target?(args: z.output<Input>): string;
  run(args: z.output<Input>, scope: ToolScope): unknown;
  reconcile?(args: z.output<Input>, scope: ToolScope): Promise<ToolOutcome | undefined>;
}

/** A tool whose arguments JSON Schema describes. */
export interface JsonToolDefinition extends ToolDefinition {
  readonly input: JsonSchema;
  /** Ignores keywords that JSON Schema does not have, for a schema of somebody else's, default false. */
  readonly looseSchema?: boolean;
  target?(args: unknown): string;
  run(args: unknown, scope: ToolScope): unknown;
  reconcile?(args: unknown, scope: ToolScope): Promise<ToolOutcome | undefined>;
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** A tool with defaults filled in. Throws a TypeError or RangeError for a definition that makes no sense. */
export function defineTool<Input extends z.ZodType>(definition: ZodToolDefinition<Input>): Tool;
export function defineTool(definition: JsonToolDefinition): Tool;
export function defineTool(definition: ZodToolDefinition<z.ZodType> | JsonToolDefinition): Tool {
  const { name, description, version = "1", effect, reversible = false } = definition;
  const { timeoutMs = 30_000, maxResultBytes = 256 * 1024, input, target, reconcile } = definition;
  const { idempotent = effect === ToolEffect.READ } = definition;
  if (!namePattern.test(name)) throw new TypeError(`${JSON.stringify(name)} does not match ${namePattern.source}`);
  if (version.length < 1 || version.length > 100)
    throw new RangeError(`the version of ${name} has 1 to 100 characters`);
  if (effect === ToolEffect.UNSPECIFIED) throw new TypeError(`say what tool ${name} can change: its effect`);
  requireWhole(`timeoutMs of ${name}`, timeoutMs, 86_400_000);
  requireWhole(`maxResultBytes of ${name}`, maxResultBytes, 4 * 1024 * 1024);
  const inputSchema = input instanceof z.ZodType ? closedSchema(input) : input;
  compileSchema(inputSchema, { strict: !("looseSchema" in definition && definition.looseSchema === true) });
  const taken = input instanceof z.ZodType ? (args: unknown) => parsed(input, name, args) : (args: unknown) => args;
  return {
    name,
    description,
    version,
    effect,
    idempotent,
    reversible,
    inputSchema,
    timeoutMs,
    maxResultBytes,
    ...(target === undefined ? {} : { target: (args) => target(taken(args)) }),
    run: (args, scope) => definition.run(taken(args), scope),
    ...(reconcile === undefined ? {} : { reconcile: (args, scope) => reconcile(taken(args), scope) }),
  };
}

/** The schema of what may be given, closed to properties that it does not name. */
function closedSchema(input: z.ZodType): JsonSchema {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(input, { io: "input" });
  if (schema.type !== "object" || schema.additionalProperties !== undefined) return schema;
  return { ...schema, additionalProperties: false };
}

/** What zod makes of the arguments; it may hold rules that JSON Schema has no words for. */
function parsed(input: z.ZodType, name: string, args: unknown): unknown {
  const result = input.safeParse(args);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => ({ path: pathOf(path.map(String)), message }));
  throw new ToolError("TOOL_ARGUMENTS_INVALID", listProblems(name, problems));
}

function requireWhole(what: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new RangeError(`${what} is a whole number from 1 to ${most}; got ${value}`);
}
