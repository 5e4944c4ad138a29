import { Ajv, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { JsonSchema } from "./tool.ts";
import { ToolError } from "./tool-error.ts";
import { withinTime } from "./time-limit.ts";

/** What is wrong with a value, and where. */
export interface Problem {
  /** As `pathOf` writes it. */
  readonly path: string;
  /** What it must be, for example `must be integer`. */
  readonly message: string;
}

/** What is wrong with a value by a schema; empty when nothing is. Throws a ToolError when that takes too long to find out. */
export type SchemaCheck = (value: unknown) => Problem[];

/** How a schema is read. */
export interface SchemaOptions {
  /** Refuses keywords that JSON Schema does not have, as misspelled ones are; default false, as the standard says. */
  readonly strict?: boolean;
  /** Takes a schema of any type, not only of arguments, which are an object; default false. */
  readonly anyType?: boolean;
  /** What paths begin with, default `arguments`. */
  readonly name?: string;
}

const maxSchemaBytes = 64 * 1024;
// Schemas come from others: one of 64 KiB can take for ever, by nested references or by a regular expression.
const maxCompileMs = 5_000;
const maxCheckMs = 1_000;
const maxProblems = 10;

const shared: Options = {
  allErrors: true,
  logger: false,
  // An argument called `constructor` is not there because every object has one.
  ownProperties: true,
  // Inlined references can make the code exponentially large.
  inlineRefs: false,
  strictTypes: false,
  strictTuples: false,
  // A format is a hint for people and models, as draft 2020-12 says.
  validateFormats: false,
};
const dialects = { "2020-12": Ajv2020, "07": Ajv } as const;
const metas = new Map<keyof typeof dialects, Ajv>();
const compiled = new WeakMap<JsonSchema, SchemaCheck>();

/**
 * The check that a schema describes; compiled once per schema object. Nothing is converted, filled in or fetched: a
 * reference points into the schema itself. Throws a ToolError TOOL_SCHEMA_INVALID, whose message says why, for a schema
 * that is none, has another `type` than `object`, more than 64 KiB, or takes more than five seconds to read.
 */
export function compileSchema(
  schema: JsonSchema,
  { strict = false, anyType = false, name = "arguments" }: SchemaOptions = {},
): SchemaCheck {
  const earlier = compiled.get(schema);
  if (earlier !== undefined) return earlier;
  requireSmallObject(schema);
  if (!anyType && schema["type"] !== "object") throw invalid('schema/type must be "object", as arguments have names');
  const dialect = dialectOf(schema);
  const meta = metaOf(dialect);
  const tooLong = `reading the schema takes more than ${maxCompileMs} ms`;
  const validate = withinTime(maxCompileMs, "TOOL_SCHEMA_INVALID", tooLong, () => {
    if (meta.validateSchema(schema) !== true) throw invalid(meta.errorsText(meta.errors, { dataVar: "schema" }));
    const own = new dialects[dialect]({
      ...shared,
      strict,
      unicodeRegExp: strict,
      meta: false,
      validateSchema: false,
    });
    try {
      return own.compile(schema);
    } catch (error) {
      throw invalid(error instanceof Error ? error.message : String(error), error);
    }
  });
  // Such a schema answers with a promise, which looks like a yes.
  if ("$async" in validate) throw invalid("schema/$async is no keyword of JSON Schema");
  const check = checkWith(validate, name);
  compiled.set(schema, check);
  return check;
}

/** Problems as one text for a model, one line each, at most ten. */
export function listProblems(name: string, problems: readonly Problem[]): string {
  const lines = problems.slice(0, maxProblems).map(({ path, message }) => `- ${path} ${message}`);
  const left = problems.length - lines.length;
  const more = left === 0 ? [] : [`- and ${left} more`];
  return [`the arguments of ${name} are not what it takes:`, ...lines, ...more].join("\n");
}

/** A place in the arguments as code, for example `arguments.files[0]["a b"]`; `name` stands for the whole. */
export function pathOf(keys: readonly string[], name = "arguments"): string {
  return `${name}${keys.map(accessor).join("")}`.slice(0, 300);
}

function checkWith(validate: ValidateFunction, name: string): SchemaCheck {
  const tooLong = `checking the ${name} takes more than ${maxCheckMs} ms; give smaller ones`;
  return (value) =>
    withinTime(maxCheckMs, "TOOL_ARGUMENTS_INVALID", tooLong, () => {
      try {
        return validate(value) ? [] : (validate.errors ?? []).map((error) => problemOf(error, name));
      } catch (error) {
        // A schema that refers to itself without going deeper into the value.
        if (!(error instanceof RangeError)) throw error;
        throw new ToolError("TOOL_SCHEMA_INVALID", "the schema refers to itself without end", { cause: error });
      }
    });
}

function requireSmallObject(schema: JsonSchema): void {
  let text: string;
  try {
    text = JSON.stringify(schema) ?? "";
  } catch (error) {
    throw invalid("schema is not JSON", error);
  }
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw invalid("schema must be an object");
  const size = Buffer.byteLength(text);
  if (size > maxSchemaBytes) throw invalid(`schema has ${size} bytes, more than the ${maxSchemaBytes} that are read`);
}

function dialectOf(schema: JsonSchema): keyof typeof dialects {
  const { $schema = "https://json-schema.org/draft/2020-12/schema" } = schema;
  const [, dialect] = /^https?:\/\/json-schema\.org\/draft[-/](2020-12|07)\/schema#?$/.exec(String($schema)) ?? [];
  if (dialect === "2020-12" || dialect === "07") return dialect;
  throw invalid(`schema/$schema is ${JSON.stringify($schema)}; draft 2020-12 and draft-07 are understood`);
}

/** What checks schemas themselves; made once, as it costs some 30 ms. */
function metaOf(dialect: keyof typeof dialects): Ajv {
  const earlier = metas.get(dialect);
  if (earlier !== undefined) return earlier;
  const meta = new dialects[dialect]({ ...shared, strict: false });
  // Compiles it here, where no time limit can cut that off.
  void meta.validateSchema({ type: "object" });
  metas.set(dialect, meta);
  return meta;
}

function problemOf(error: ErrorObject, name: string): Problem {
  const keys = error.instancePath.split("/").slice(1).map(unescaped);
  return { path: pathOf(keys, name), message: messageOf(error) };
}

function messageOf({ keyword, params, message = "is not allowed" }: ErrorObject): string {
  const given = params as Readonly<Record<string, unknown>>;
  switch (keyword) {
    case "additionalProperties":
      return `must not have the property ${shown(given["additionalProperty"])}`;
    case "unevaluatedProperties":
      return `must not have the property ${shown(given["unevaluatedProperty"])}`;
    case "enum":
      return `must be one of ${shown(given["allowedValues"])}`;
    case "const":
      return `must be ${shown(given["allowedValue"])}`;
    default:
      return message;
  }
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length <= 200 ? text : `${text.slice(0, 200).toWellFormed()}…`;
}

/** A step of a JSON pointer (RFC 6901). */
function unescaped(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}

function accessor(key: string): string {
  if (/^\d+$/.test(key)) return `[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function invalid(problem: string, cause?: unknown): ToolError {
  return new ToolError("TOOL_SCHEMA_INVALID", `the JSON Schema can not be used: ${problem.slice(0, 1_000)}`, { cause });
}
