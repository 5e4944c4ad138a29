import { all, create, type FactoryFunctionMap, type MathJsInstance, type MathNode } from "mathjs";
import { ToolError } from "../tool-error.ts";
import { withinTime } from "../time-limit.ts";

/**
 * The value of an expression as text. Throws a ToolError: EXPRESSION_INVALID when it can not be read or has no finite
 * value, EXPRESSION_TOO_SLOW after `timeLimitMs`.
 */
export type Evaluate = (expression: string, timeLimitMs: number) => string;

const functions = new Set(
  `abs acos acosh acot asin asinh atan atan2 atanh cbrt ceil combinations conj cos cosh cot coth csc cube det dot exp
  expm1 factorial fix floor gcd hypot im inv lcm log log10 log1p log2 mad max mean median min mod mode nthRoot
  permutations pow prod re round sec sign sin sinh sqrt square std subtract sum tan tanh to unaryMinus variance`.split(
    /\s+/,
  ),
);
const constants = new Set(["pi", "e", "tau", "phi", "i", "Infinity", "NaN"]);
const nodeTypes = new Set([
  "ArrayNode",
  "ConditionalNode",
  "ConstantNode",
  "FunctionNode",
  "OperatorNode",
  "ParenthesisNode",
  "RelationalNode",
  "SymbolNode",
]);
// As https://mathjs.org/docs/expressions/security.html advises; the list of functions above leaves them out as well.
const disabled = [
  "import",
  "createUnit",
  "reviver",
  "evaluate",
  "parse",
  "compile",
  "simplify",
  "derivative",
  "resolve",
];
const maxResultLength = 2_000;
// Set anew for each expression, as decimal.js changes some of it while it works. Numbers beyond 10^5000 are infinite: a
// remainder of 10^(10^9) would take all memory.
const digits = { precision: 64, rounding: 4, maxE: 5_000, minE: -5_000 };
/** Functions that loop as often as their argument says, and those that are wrong beyond the digits that are kept. */
const largest = { factorial: 1_000, combinations: 1_000, permutations: 1_000, mod: 1e60, gcd: 1e60, lcm: 1e30 };

/** Makes what evaluates expressions; nothing is kept from one to the next. */
export function createEvaluate(): Evaluate {
  const math = create(all as FactoryFunctionMap, { number: "BigNumber", precision: digits.precision });
  const parse = math.parse.bind(math);
  const format = math.format.bind(math);
  const Decimal = math.bignumber(0).constructor as unknown as { set(options: object): void };
  restrict(math);
  return (expression, timeLimitMs) => {
    const tooSlow = `the expression takes more than ${timeLimitMs} ms; ask for less at a time`;
    try {
      Decimal.set(digits);
      return withinTime(timeLimitMs, "EXPRESSION_TOO_SLOW", tooSlow, () => {
        const node = parse(expression);
        node.traverse((item) => requireAllowed(math, item));
        const value: unknown = node.evaluate();
        requireFinite(math, value);
        const text = format(value, { precision: 32, lowerExp: -20, upperExp: 64 });
        if (text.length <= maxResultLength) return text;
        throw invalid(`its value has ${text.length} characters, more than the ${maxResultLength} that are answered`);
      });
    } catch (error) {
      if (!(error instanceof ToolError)) throw invalid(error instanceof Error ? error.message : String(error), error);
      // decimal.js stops rounding while it works, and goes on so when it is cut off; a finished exp() puts it right.
      if (error.code === "EXPRESSION_TOO_SLOW") math.bignumber(1).exp();
      throw error;
    }
  };
}

function restrict(math: MathJsInstance): void {
  const replaced: Record<string, AnyFunction> = {};
  for (const [name, most] of Object.entries(largest)) {
    replaced[name] = limited(name, math[name as keyof MathJsInstance] as AnyFunction, most);
  }
  for (const name of disabled) replaced[name] = () => refuse(name);
  math.import([replaced], { override: true });
}

type AnyFunction = (...args: unknown[]) => unknown;

/** The same function for numbers up to `most` only. */
function limited(name: string, fn: AnyFunction, most: number): AnyFunction {
  return (...args) => {
    if (args.every((arg) => Math.abs(Number(arg)) <= most)) return fn(...args);
    throw invalid(`${name} takes single numbers up to ${most}`);
  };
}

function requireAllowed(math: MathJsInstance, node: MathNode): void {
  if (!nodeTypes.has(node.type)) throw invalid(`${node.type.replace(/Node$/, "")} is not something that is calculated`);
  if (isType(node, "ConstantNode") && typeof node["value"] === "string") throw invalid("text is not calculated with");
  if (isType(node, "FunctionNode")) requireFunction(node["fn"]);
  if (isType(node, "SymbolNode")) {
    const name = String(node["name"]);
    if (constants.has(name) || functions.has(name) || math.Unit.isValuelessUnit(name)) return;
    throw invalid(`${JSON.stringify(name)} is no constant, unit or function that is known here`);
  }
}

/** Only a name may be called: what an expression makes is no function. */
function requireFunction(fn: unknown): void {
  const name = (fn as { name?: unknown } | undefined)?.name;
  if (typeof name === "string" && functions.has(name)) return;
  throw invalid(`there is no function ${JSON.stringify(name ?? "")}; there are ${[...functions].join(", ")}`);
}

function requireFinite(math: MathJsInstance, value: unknown): void {
  if (value === undefined || typeof value === "function") throw invalid("it has no value");
  if (math.isBigNumber(value) && !value.isFinite()) throw invalid(`its value is ${value.toString()}`);
}

function isType(node: MathNode, type: string): node is MathNode & Readonly<Record<string, unknown>> {
  return node.type === type;
}

function refuse(name: string): never {
  throw invalid(`${name} is not available`);
}

function invalid(problem: string, cause?: unknown): ToolError {
  return new ToolError("EXPRESSION_INVALID", `the expression can not be calculated: ${problem.slice(0, 1_000)}`, {
    cause,
  });
}
