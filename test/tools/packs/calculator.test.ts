import { expect, test } from "vitest";
import { calculatorPack } from "../../../src/tools/packs/calculator.ts";
import { errorOf, resultOf, toolOf } from "../calling.ts";

const calculator = toolOf(calculatorPack(), "calculator");

async function calculated(expression: string): Promise<unknown> {
  return ((await resultOf(calculator, { expression })) as { result: unknown }).result;
}

const values: [string, string][] = [
  ["0.1 + 0.2", "0.3"],
  ["(12.5 - 3) * 2^10", "9728"],
  ["2^64", "18446744073709551616"],
  ["25!", "15511210043330985984000000"],
  ["1/3", "0.33333333333333333333333333333333"],
  ["-7 mod 3", "2"],
  ["15% * 80", "12"],
  ["sqrt(2)^2 == 2", "true"],
  ["sqrt(-4)", "2i"],
  ["round(2.567, 2)", "2.57"],
  ["5 inch to cm", "12.7 cm"],
  ["20 degC to degF", "68 degF"],
  ["mean([1, 2, 3, 6])", "3"],
  ["gcd(12, 18) + lcm(4, 6)", "18"],
  ["combinations(52, 5)", "2598960"],
  ["3 > 2 ? 10 : 20", "10"],
  ["[[1, 2], [3, 4]] * [1, 2]", "[5, 11]"],
  ["0x1F", "31"],
  ["sin(45 deg)^2", "0.5"],
];
for (const [expression, result] of values) {
  test(`${expression} is ${result}`, async () => expect(await calculated(expression)).toBe(result));
}

const attacks = [
  "import({a: 1})",
  'createUnit("x")',
  'evaluate("1")',
  'parse("1")',
  "simplify(2)",
  "derivative(2, 3)",
  "resolve(2)",
  "reviver(1, 2)",
  "config({})",
  "typed(1)",
  "cos.constructor",
  'cos.constructor("return process")()',
  "constructor",
  "__proto__",
  "toString()",
  "process",
  "f(x) = x",
  "x = 5",
  "{a: 1}",
  "1; 2",
  "1\n2",
  '"a" * 3',
  'concat("a", "b")',
  "[1, 2][1]",
  "map([1], cos)",
  "(cos)(1)",
  "cos",
  "end",
  // Much from little.
  "1:1000000000",
  "zeros(100000, 100000)",
  "ones(100000)",
  "range(1, 1000000000)",
  "resize([1], [100000000])",
  "random([100000, 100000])",
  "repeat(1, 1000000000)",
  "bignumber(10)",
  "factorial(1000000000)",
  "1000000000!",
  "combinations(1000000000, 500000000)",
  "permutations(1000000000)",
  "9^9^9 mod 7",
  "10^4000 mod 7",
  "gcd(10^4000, 7)",
  "1 << 1000000000",
  // Nothing that can be said.
  "1/0",
  "0/0",
  "9^9^9^9",
  "exp(10^15)",
  "2 +",
  "foo",
  "foo(1)",
  "5 m + 3",
  ")",
];
for (const expression of attacks) {
  test(`does not calculate ${expression}`, async () => {
    const error = await errorOf(calculator, { expression });
    expect(error).toMatchObject({ code: "EXPRESSION_INVALID", retryable: false });
    expect(error.message).toMatch(/^the expression can not be calculated: ./);
  });
}

test("nothing stays from one expression to the next", async () => {
  await errorOf(calculator, { expression: "pi = 3" });
  await errorOf(calculator, { expression: "import({pi: 3}, {override: true})" });
  expect(await calculated("pi > 3.14")).toBe("true");
});

test("cuts off what takes long, wherever it is, and calculates right after that", async () => {
  const codes = new Set<unknown>();
  for (const timeLimitMs of [1, 2, 3]) {
    const hasty = toolOf(calculatorPack({ timeLimitMs }), "calculator");
    for (const fn of ["sin", "exp", "log", "atanh", "cos"]) {
      const expression = Array.from({ length: 26 }, () => `${fn}(0.7^.3)^.3`).join("+");
      const outcome = await resultOf(hasty, { expression }).catch((error: unknown) => error);
      codes.add((outcome as { code?: string }).code);
      // What is not rounded any more does not become infinite either.
      expect((await errorOf(calculator, { expression: "1e4000 * 1e4000" })).message).toContain("its value is Infinity");
      expect(await calculated("1/3")).toBe("0.33333333333333333333333333333333");
    }
  }
  expect(codes).toContain("EXPRESSION_TOO_SLOW");
  codes.delete("EXPRESSION_TOO_SLOW");
  codes.delete(undefined);
  expect(codes).toEqual(new Set());
});

test("takes an expression that is short and a text", async () => {
  for (const expression of ["", "1+".repeat(300) + "1", 5, ["1"], null]) {
    expect((await errorOf(calculator, { expression })).code).toBe("TOOL_ARGUMENTS_INVALID");
  }
});

test("the value is bounded as well", async () => {
  const many = `[${Array.from({ length: 60 }, () => "1/3").join(",")}]`;
  const error = await errorOf(calculator, { expression: many });
  expect(error.message).toMatch(/has \d+ characters, more than the 2000/);
});
