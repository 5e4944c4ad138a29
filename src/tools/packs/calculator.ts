import { z } from "zod";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "../define-tool.ts";
import type { ToolPack } from "../tool.ts";
import type { Evaluate } from "./arithmetic.ts";

/** How much may be calculated. */
export interface CalculatorOptions {
  /** Milliseconds for one expression, default 1,000; meanwhile nothing else happens in the worker's thread. */
  readonly timeLimitMs?: number | undefined;
}

/** `calculator`: exact decimal arithmetic, units, and the functions of a scientific calculator. Runs no code. */
export function calculatorPack({ timeLimitMs = 1_000 }: CalculatorOptions = {}): ToolPack {
  let evaluate: Promise<Evaluate> | undefined;
  const calculator = defineTool({
    name: "calculator",
    description:
      'Calculates an expression, such as "(12.5 - 3) * 2^10", "sqrt(2)", "5 inch to cm", "20% of" written as "0.2 * x", "mean([1, 2, 3])". Answers {result} as text, with up to 32 digits.',
    effect: ToolEffect.READ,
    input: z.object({ expression: z.string().min(1).max(500).describe("What to calculate; without variables") }),
    async run({ expression }) {
      evaluate ??= loadEvaluate();
      return { result: (await evaluate)(expression, timeLimitMs) };
    },
  });
  return { name: "calculator", tools: [calculator] };
}

/** Loads the library at the first use: it takes half a second. */
async function loadEvaluate(): Promise<Evaluate> {
  const { createEvaluate } = await import("./arithmetic.ts");
  return createEvaluate();
}
