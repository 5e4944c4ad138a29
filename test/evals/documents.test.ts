import { readFile } from "node:fs/promises";
import { fromJsonString } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { tellsEveryone } from "../../examples/tells-everyone.ts";
import { EvalCheckSchema, SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import { createEvaluateHandler, evaluateHandler } from "../../src/engine/evals/evaluate.ts";
import { readyChecks } from "../../src/engine/evals/checks.ts";
import { normalQuantile, wilson } from "../../src/engine/evals/statistics.ts";
import { evaluateHandler as nameInTheLog } from "../../src/evals/evaluation.ts";
import { root } from "../docs/documents.ts";
import { createFakeContext } from "../engine/agent/fake-context.ts";
import { createMockModel } from "../../src/models/mock-model.ts";

const text = await readFile(`${root}docs/evaluations.md`, "utf8");

test("the example suite has every kind of check, and each can be made", async () => {
  const { cases } = fromJsonString(SuiteSchema, await readFile(`${root}examples/signals.json`, "utf8"));
  const made = cases.flatMap(readyChecks);
  expect(made.length).toBe(7);
  const kinds = cases.flatMap(({ checks }) => checks.map(({ kind }) => kind.case));
  const all = EvalCheckSchema.oneofs[0]?.fields.map(({ localName }) => localName);
  // A case without checks has an exact one.
  expect(new Set(["exact", ...kinds])).toEqual(new Set(all));
  for (const name of all ?? []) expect(text).toContain(`| \`${name}\` |`);
});

test("the example handler passes whoever has told everyone", async () => {
  const { ctx } = createFakeContext({ model: createMockModel([]) });
  const grade = (told: string[]) =>
    tellsEveryone.handle(ctx, { input: null, output: { told }, expected: { stations: ["Ash", "Elm"] } });
  expect(await grade(["Elm", "Oak", "Ash"])).toEqual({ pass: true });
  expect(await grade(["Ash"])).toEqual({ pass: false, reason: "nobody told Elm" });
});

test("the table of trials is that of the statistics", () => {
  const z = normalQuantile(0.95);
  const least = (share: number, threshold: number, step: number) => {
    for (let trials = step; trials <= 2_000; trials += step) {
      if (wilson({ passed: trials * share, trials }, z).lower >= threshold) return String(trials);
    }
    return "never";
  };
  for (const threshold of [0.8, 0.9, 0.95, 0.99]) {
    expect(text).toContain(`| ${threshold} | ${least(1, threshold, 1)} | ${least(0.95, threshold, 20)} |`);
  }
});

test("servers and workers call the handler the same", () => {
  expect(nameInTheLog).toBe(evaluateHandler);
  expect(text).toContain(`\`${evaluateHandler}\``);
  expect(createEvaluateHandler).toBeTypeOf("function");
});
