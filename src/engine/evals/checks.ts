import { RE2JS } from "re2js";
import type {
  ContainsCheck,
  EvalCase,
  EvalCheck,
  ExactCheck,
  HandlerCheck,
  JudgeCheck,
  NumberCheck,
  PatternCheck,
  SchemaCheck,
} from "../../../gen/signalbox/v1/eval_pb.ts";
import { type JsonValue, valueToJson } from "../../client/json.ts";
import { compileSchema } from "../../tools/schema.ts";
import { withinTime } from "../../tools/time-limit.ts";
import { ToolError } from "../../tools/tool-error.ts";
import { canonicalText } from "./canonical-text.ts";
import { partAt } from "./json-pointer.ts";
import type { Outcome } from "./trial.ts";

/** What a check says: nothing when it passes, else why it does not. Throws what keeps it from being made. */
type Test = (part: JsonValue) => string | undefined;

/** A check that is ready to be made. */
export type ReadyCheck = {
  readonly name: string;
  readonly pointer: string;
} & (
  | { readonly kind: "test"; readonly test: Test }
  | { readonly kind: "handler"; readonly ask: HandlerCheck }
  | { readonly kind: "judge"; readonly ask: JudgeCheck }
);

/** The checks of a case can not be made as they stand; the message says which and why. */
export class UnusableCheckError extends Error {
  override readonly name: string = "UnusableCheckError";
}

/** The longest text that a regular expression is compared with, in characters. */
const maxSearchedLength = 1024 * 1024;
const maxSearchMs = 1_000;

/** The checks of a case, in their order; without any, that the output equals `expected`. Throws an UnusableCheckError. */
export function readyChecks(evalCase: EvalCase): ReadyCheck[] {
  const { key, checks, expected } = evalCase;
  if (checks.length > 0) return checks.map((check, index) => ready(check, evalCase, `case ${key}, check ${index + 1}`));
  if (expected === undefined) {
    throw new UnusableCheckError(`case ${key} has neither checks nor an expected output: nothing could be wrong`);
  }
  return [{ kind: "test", name: "exact", pointer: "", test: exact(valueToJson(expected)) }];
}

/** What a test says of an output; undefined for a check that asks somebody else. */
export function madeTest(check: ReadyCheck, output: JsonValue | undefined): Outcome | undefined {
  const missing = missingPart(check, output);
  if (missing !== undefined) return missing;
  if (check.kind !== "test") return undefined;
  const { name, pointer, test } = check;
  try {
    const flaw = test(partAt(output, pointer) ?? null);
    return flaw === undefined ? { kind: "passed" } : { kind: "failed", check: name, message: flaw };
  } catch (error) {
    // A schema or an expression that takes too long says nothing about the output.
    if (!(error instanceof ToolError)) throw error;
    return { kind: "error", check: name, message: error.message };
  }
}

function missingPart({ name, pointer }: ReadyCheck, output: JsonValue | undefined): Outcome | undefined {
  if (partAt(output, pointer) !== undefined) return undefined;
  const message = pointer === "" ? "there is no output" : `the output has nothing at ${pointer}`;
  return { kind: "failed", check: name, message };
}

function ready(check: EvalCheck, evalCase: EvalCase, where: string): ReadyCheck {
  const { kind, pointer } = check;
  const name = check.name || (kind.case ?? "");
  const expected = valueToJson(evalCase.expected);
  const test = (made: Test): ReadyCheck => ({ kind: "test", name, pointer, test: made });
  switch (kind.case) {
    case "exact":
      return test(exact(exactValue(kind.value, expected, where)));
    case "contains":
      return test(contains(kind.value, expected, where));
    case "schema":
      return test(schema(kind.value, where));
    case "pattern":
      return test(pattern(kind.value, where));
    case "number":
      return test(number(kind.value, expected, where));
    case "handler":
      return { kind: "handler", name, pointer, ask: kind.value };
    case "judge":
      return { kind: "judge", name, pointer, ask: kind.value };
    case undefined:
      throw new UnusableCheckError(`${where} is of a kind that this program does not know; upgrade it`);
  }
}

function exactValue({ value }: ExactCheck, expected: JsonValue | undefined, where: string): JsonValue {
  const wanted = value === undefined ? expected : valueToJson(value);
  if (wanted !== undefined) return wanted;
  throw new UnusableCheckError(`${where} compares with nothing: give it a value, or the case an expected output`);
}

function exact(wanted: JsonValue): Test {
  const text = canonicalText(wanted);
  return (part) => {
    const got = canonicalText(part);
    return got === text ? undefined : `got ${shown(got)}, expected ${shown(text)}`;
  };
}

function contains({ text, ignoreCase }: ContainsCheck, expected: JsonValue | undefined, where: string): Test {
  const wanted = text === "" ? expected : text;
  if (typeof wanted !== "string" || wanted === "") {
    throw new UnusableCheckError(`${where} looks for nothing: give it a text, or the case a text that is expected`);
  }
  const folded = (all: string) => (ignoreCase ? all.toLowerCase() : all);
  return (part) => {
    const searched = textOf(part);
    return folded(searched).includes(folded(wanted))
      ? undefined
      : `${shown(searched)} does not contain ${shown(wanted)}`;
  };
}

function schema({ schema: given = {} }: SchemaCheck, where: string): Test {
  const check = unlessUnusable(where, () => compileSchema(given, { anyType: true, name: "output" }));
  return (part) => {
    const problems = check(part);
    if (problems.length === 0) return undefined;
    return problems.map(({ path, message }) => `${path} ${message}`).join("; ");
  };
}

function pattern({ pattern: source, ignoreCase }: PatternCheck, where: string): Test {
  const flags = ignoreCase ? RE2JS.CASE_INSENSITIVE : 0;
  const tooLong = `the regular expression takes more than ${maxSearchMs} ms`;
  const limited = <T>(fn: () => T) => withinTime(maxSearchMs, "TOOL_ARGUMENTS_INVALID", tooLong, fn);
  const compiled = unlessUnusable(where, () => limited(() => RE2JS.compile(source, flags)));
  return (part) => {
    const text = textOf(part);
    if (text.length > maxSearchedLength) {
      throw new ToolError("TOOL_ARGUMENTS_INVALID", `the output has ${text.length} characters, too many to search`);
    }
    return limited(() => compiled.test(text)) ? undefined : `${shown(text)} does not match ${source}`;
  };
}

function number({ value, absolute, relative }: NumberCheck, expected: JsonValue | undefined, where: string): Test {
  const wanted = value ?? expected;
  if (typeof wanted !== "number") {
    throw new UnusableCheckError(
      `${where} compares with no number: give it a value, or the case a number that is expected`,
    );
  }
  const reach = Math.max(absolute, relative * Math.abs(wanted));
  return (part) => {
    if (typeof part !== "number") return `${shown(canonicalText(part))} is no number`;
    return Math.abs(part - wanted) <= reach ? undefined : `got ${part}, expected ${wanted}, give or take ${reach}`;
  };
}

function unlessUnusable<T>(where: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UnusableCheckError(`${where} can not be made: ${why}`, { cause: error });
  }
}

function textOf(part: JsonValue): string {
  return typeof part === "string" ? part : canonicalText(part);
}

function shown(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 99).toWellFormed()}…`;
}
