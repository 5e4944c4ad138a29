import { fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { EvalTargetSchema, type Evaluation, GateVerdict, SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, reasonOf } from "../../src/client/client.ts";
import { createEvaluateHandler, evaluateHandler } from "../../src/engine/evals/evaluate.ts";
import type { Handler } from "../../src/engine/handler.ts";
import { HandlerError } from "../../src/engine/handler-error.ts";
import { builtInHandlers, createAgentHandler } from "../../src/engine/worker.ts";
import { createMockModel } from "../../src/models/mock-model.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const client = installation.client({ workspaceId });
const { evals } = client;

/** Passes what is polite; has no verdict about what is empty, and is away for what is "down". */
const judge = createMockModel(({ messages }) => {
  const [system, user] = messages;
  if (system?.role !== "system" || !system.text.startsWith("You judge"))
    return { text: system?.role === "system" ? system.text : "none" };
  const { output } = JSON.parse(user?.role === "user" ? user.text : "") as { output: string };
  if (output === "down") return { error: { code: "MODEL_UNAVAILABLE" } };
  if (output === "") return { text: "Hm." };
  return { text: JSON.stringify({ pass: output.includes("please"), reason: "no please" }) };
});

const handlers: Record<string, Handler> = {
  ...builtInHandlers,
  agent: createAgentHandler({ defaultModel: "mock/any" }),
  [evaluateHandler]: createEvaluateHandler({ judgeModel: "mock/judge" }),
  fails: () => {
    throw new HandlerError("BROKEN", "as asked", { retryable: false });
  },
  grade: (_ctx, input) => {
    const { output, expected } = input as { output: JsonValue; expected: JsonValue };
    if (output === "odd") return "no verdict";
    return { pass: output === expected, reason: "not the same" };
  },
};
installation.worker({ workspaceId, handlers, models: judge, concurrency: 16 });

let suites = 0;

async function put(cases: JsonValue[], thresholds: JsonValue = {}, name = `suite ${++suites}`) {
  const suite = fromJson(SuiteSchema, { name, cases, thresholds });
  const answer = await evals.putSuite({ suite });
  if (answer.suite === undefined) throw new Error("no suite");
  return { ...answer.suite, at: answer.position };
}

const target = (json: JsonValue) => fromJson(EvalTargetSchema, json);
type Fields = Omit<Exclude<Parameters<typeof evals.evaluate>[0], Message>, "suiteId" | "target">;

async function evaluate(suiteId: string, on: JsonValue, fields: Fields = {}): Promise<Evaluation> {
  const { evaluation } = await evals.evaluate({ suiteId, target: target(on), ...fields });
  return ended(evaluation?.evaluationId ?? "");
}

async function ended(evaluationId: string): Promise<Evaluation> {
  const { run } = await client.runs.waitRun({ runId: evaluationId });
  if (run?.status !== RunStatus.SUCCEEDED) throw new Error(`evaluation is ${run?.status}: ${run?.error?.message}`);
  const { evaluation } = await evals.getEvaluation({ evaluationId });
  if (evaluation === undefined) throw new Error("no evaluation");
  return evaluation;
}

const refusal = (call: Promise<unknown>) => call.then(() => "answered", reasonOf);
const plain = { confidence: 0, minRepeats: 1 };

describe("an evaluation", () => {
  test("makes every trial as a run of its own, and says what came of each case", async () => {
    const { suiteId } = await put([
      { key: "same", input: { a: 1 }, expected: { a: 1 }, weight: 3 },
      { key: "other", input: { a: 2 }, expected: { a: 1 } },
    ]);
    const evaluation = await evaluate(suiteId, { handler: "echo" }, { repeats: 4, parallelism: 3 });
    const { scorecard } = evaluation;
    expect(scorecard?.counts).toMatchObject({ passed: 4, failed: 4, errors: 0 });
    expect(scorecard?.passRate?.value).toBeCloseTo(0.75);
    expect(scorecard?.cases[1]).toMatchObject({ key: "other", counts: { passed: 0, failed: 4 } });
    expect(scorecard?.cases[1]?.flaws[0]).toMatchObject({ check: "exact", message: 'got {"a":2}, expected {"a":1}' });
    expect(scorecard?.latency?.count).toBe(8);
    const { runs } = await client.runs.listRuns({
      parentRunId: evaluation.evaluationId,
      minPosition: evaluation.position,
    });
    expect(runs).toHaveLength(8);
    expect(runs.map(({ runId }) => runId)).toContain(scorecard?.cases[1]?.flaws[0]?.runId);
    const { artifact } = await client.artifacts.getArtifact({ artifactId: scorecard?.artifactId ?? "" });
    expect(artifact).toMatchObject({
      name: "scorecard.json",
      contentType: "application/json",
      runId: evaluation.evaluationId,
    });
    expect(new Set(runs.map(({ labels }) => labels["evaluation.case"]))).toEqual(new Set(["same", "other"]));
  });

  test("takes a run that fails for a failed trial, and one that can not be made for an error", async () => {
    const { suiteId } = await put([{ key: "a", expected: 1 }], plain);
    const failed = await evaluate(suiteId, { handler: "fails" }, { repeats: 1 });
    expect(failed.scorecard?.gate?.verdict).toBe(GateVerdict.FAIL);
    expect(failed.scorecard?.cases[0]?.flaws[0]?.message).toContain("BROKEN: ");
    const { agent } = await client.agents.createAgent({ name: "Gone" });
    const agentId = agent?.agentId ?? "";
    await client.agents.archiveAgent({ agentId });
    const refused = await evaluate(suiteId, { agent: { agentId } }, { repeats: 2 });
    expect(refused.scorecard?.counts).toMatchObject({ passed: 0, failed: 0, errors: 2 });
    expect(refused.scorecard?.gate?.verdict).toBe(GateVerdict.INCONCLUSIVE);
  });

  test("asks a handler and a judge; trouble of theirs is an error, never a pass", async () => {
    const { suiteId } = await put([
      { key: "graded", input: "x", expected: "x", checks: [{ handler: { handler: "grade" } }] },
      { key: "misgraded", input: "y", expected: "x", checks: [{ handler: { handler: "grade" } }] },
      { key: "odd", input: "odd", expected: "x", checks: [{ handler: { handler: "grade" } }] },
      { key: "grader-fails", input: "x", checks: [{ handler: { handler: "fails" } }] },
      { key: "polite", input: "please", checks: [{ judge: { rubric: "It is polite." } }] },
      { key: "rude", input: "now!", checks: [{ name: "tone", judge: { rubric: "It is polite." } }] },
      { key: "mumbled", input: "", checks: [{ judge: { rubric: "It is polite." } }] },
      { key: "away", input: "down", checks: [{ judge: { rubric: "It is polite." } }] },
      { key: "both", input: "down", checks: [{ judge: { rubric: "It is polite." } }, { contains: { text: "up" } }] },
    ]);
    const { scorecard } = await evaluate(suiteId, { handler: "echo" }, { repeats: 1 });
    const outcome = Object.fromEntries(
      (scorecard?.cases ?? []).map(({ key, counts }) => [
        key,
        counts?.passed ? "passed" : counts?.failed ? "failed" : "error",
      ]),
    );
    expect(outcome).toEqual({
      graded: "passed",
      misgraded: "failed",
      odd: "error",
      "grader-fails": "error",
      polite: "passed",
      rude: "failed",
      mumbled: "error",
      away: "error",
      both: "failed",
    });
    expect(scorecard?.cases.find(({ key }) => key === "rude")?.flaws[0]).toMatchObject({
      check: "tone",
      message: "no please",
    });
  });

  test("of an agent with changes evaluates a copy, which is archived after that", async () => {
    const { agent } = await client.agents.createAgent({ name: "Clerk", instructions: "old", preset: "clerks" });
    const agentId = agent?.agentId ?? "";
    const { suiteId } = await put(
      [{ key: "a", input: "?", checks: [{ pointer: "/text", exact: { value: "new" } }] }],
      plain,
    );
    const before = await evaluate(suiteId, { agent: { agentId } }, { repeats: 1 });
    expect(before.scorecard?.gate?.verdict).toBe(GateVerdict.FAIL);
    const after = await evaluate(suiteId, { agent: { agentId, instructions: "new" } }, { repeats: 1 });
    expect(after.scorecard?.gate?.verdict).toBe(GateVerdict.PASS);
    expect((await client.agents.getAgent({ agentId })).agent?.instructions).toBe("old");
    const { agents } = await client.agents.listAgents({ minPosition: after.position });
    expect(agents.find(({ name }) => name.includes(after.evaluationId))).toMatchObject({ status: 3, preset: "" });
  });

  test("of runs on record makes none", async () => {
    const { run } = await client.runs.createRun({ handler: "echo", input: jsonValue("fine") });
    const runId = run?.runId ?? "";
    await client.runs.waitRun({ runId });
    const { suiteId } = await put([
      { key: "a", expected: "fine" },
      { key: "b", expected: "other" },
    ]);
    const recorded = { recorded: { runs: [{ runId, caseKey: "a" }] } };
    const evaluation = await evaluate(suiteId, recorded, {
      thresholds: fromJson(SuiteSchema, { thresholds: plain }).thresholds!,
    });
    expect(evaluation.scorecard?.gate?.verdict).toBe(GateVerdict.PASS);
    expect(evaluation.scorecard?.cases.map(({ key }) => key)).toEqual(["a"]);
    const { runs } = await client.runs.listRuns({
      parentRunId: evaluation.evaluationId,
      minPosition: evaluation.position,
    });
    expect(runs).toEqual([]);
  });

  test("falls behind its baseline", async () => {
    const cases = [{ key: "a", input: { ms: 0 }, expected: { ms: 0 } }];
    const { suiteId } = await put(cases, { minPassRate: 0, maxRegression: 0.3 });
    const baseline = await evaluate(suiteId, { handler: "echo" }, { repeats: 12, parallelism: 16 });
    const same = await evaluate(
      suiteId,
      { handler: "sleep" },
      { repeats: 12, parallelism: 16, baselineEvaluationId: baseline.evaluationId },
    );
    expect(same.scorecard?.gate?.verdict).toBe(GateVerdict.PASS);
    expect(same.scorecard?.baseline).toMatchObject({ comparedCases: 1, pValue: 1 });
    const worse = await evaluate(
      suiteId,
      { handler: "fails" },
      { repeats: 12, parallelism: 16, baselineEvaluationId: baseline.evaluationId },
    );
    expect(worse.scorecard?.gate?.verdict).toBe(GateVerdict.FAIL);
    expect(worse.scorecard?.gate?.reasons.map(({ code }) => code)).toEqual(["PASS_RATE", "REGRESSION"]);
    const { evaluations } = await evals.listEvaluations({ suiteId, minPosition: worse.position });
    expect(evaluations.map(({ evaluationId }) => evaluationId)).toEqual(
      [worse, same, baseline].map((one) => one.evaluationId),
    );
    expect(evaluations[0]?.scorecard).toMatchObject({ cases: [], gate: { verdict: GateVerdict.FAIL } });
  });

  test("goes on with another worker after the first one has gone, and repeats no trial", async () => {
    const own = newWorkspaceId();
    const elsewhere = installation.client({ workspaceId: own });
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    let made = 0;
    const slow: Handler = async (_ctx, input) => {
      made++;
      await gate;
      return input;
    };
    const evaluator = { [evaluateHandler]: createEvaluateHandler() };
    const first = installation.worker({ workspaceId: own, handlers: evaluator, drainTimeoutMs: 0 });
    installation.worker({ workspaceId: own, handlers: { slow }, concurrency: 16 });
    const suite = fromJson(SuiteSchema, {
      name: "slow",
      cases: [{ key: "a", input: 1, expected: 1 }],
      thresholds: plain,
    });
    const { suite: slowSuite } = await elsewhere.evals.putSuite({ suite });
    const request = {
      suiteId: slowSuite?.suiteId ?? "",
      target: target({ handler: "slow" }),
      repeats: 6,
      parallelism: 6,
    };
    const { evaluation } = await elsewhere.evals.evaluate(request);
    await until(() => made === 6, { what: "six trials under way" });
    await first[Symbol.asyncDispose]();
    open();
    installation.worker({ workspaceId: own, handlers: evaluator });
    const runId = evaluation?.evaluationId ?? "";
    const { run } = await elsewhere.runs.waitRun({ runId });
    expect(run?.status).toBe(RunStatus.SUCCEEDED);
    expect(made).toBe(6);
  });

  test("is canceled with all that it has started", async () => {
    const { suiteId } = await put([{ key: "a", input: { ms: 3_600_000 }, expected: 1 }]);
    const { evaluation } = await evals.evaluate({ suiteId, target: target({ handler: "sleep" }), repeats: 3 });
    const runId = evaluation?.evaluationId ?? "";
    const children = async () => (await client.runs.listRuns({ parentRunId: runId })).runs;
    await until(async () => (await children()).length === 3, { what: "three trials" });
    await client.runs.cancelRun({ runId });
    await until(async () => (await children()).every(({ status }) => status === RunStatus.CANCELED), {
      what: "their end",
    });
    expect((await evals.getEvaluation({ evaluationId: runId })).evaluation).toMatchObject({
      status: RunStatus.CANCELED,
    });
  });
});

describe("refuses", () => {
  test("what is not there", async () => {
    const { suiteId } = await put([{ key: "a", expected: 1 }]);
    const on = target({ handler: "echo" });
    const none = "01K9ZZZZZZZZZZZZZZZZZZZZZZ";
    expect(await refusal(evals.evaluate({ suiteId: `suite_${none}`, target: on }))).toBe("SUITE_NOT_FOUND");
    expect(await refusal(evals.evaluate({ suiteId, suiteVersion: 2n, target: on }))).toBe("SUITE_NOT_FOUND");
    expect(await refusal(evals.evaluate({ suiteId, target: target({ agent: { agentId: `agt_${none}` } }) }))).toBe(
      "AGENT_NOT_FOUND",
    );
    const recorded = { recorded: { runs: [{ runId: `run_${none}`, caseKey: "a" }] } };
    expect(await refusal(evals.evaluate({ suiteId, target: target(recorded) }))).toBe("RUN_NOT_FOUND");
    expect(await refusal(evals.evaluate({ suiteId, target: on, baselineEvaluationId: `run_${none}` }))).toBe(
      "EVALUATION_NOT_FOUND",
    );
    const { run } = await client.runs.createRun({ handler: "echo" });
    expect(await refusal(evals.getEvaluation({ evaluationId: run?.runId ?? "" }))).toBe("EVALUATION_NOT_FOUND");
  });

  test("a suite out of use, a foreign baseline, an open run, an unknown case, and too many trials", async () => {
    const { suiteId } = await put([{ key: "a", expected: 1 }], plain);
    const other = await put([{ key: "a", expected: 1 }], plain);
    const on = target({ handler: "echo" });
    const foreign = await evaluate(other.suiteId, { handler: "echo" }, { repeats: 1 });
    expect(await refusal(evals.evaluate({ suiteId, target: on, baselineEvaluationId: foreign.evaluationId }))).toBe(
      "INVALID_REQUEST",
    );
    const { run } = await client.runs.createRun({ handler: "nobody" });
    const runOf = (caseKey: string) => target({ recorded: { runs: [{ runId: run?.runId ?? "", caseKey }] } });
    expect(await refusal(evals.evaluate({ suiteId, target: runOf("a") }))).toBe("INVALID_STATE");
    expect(await refusal(evals.evaluate({ suiteId, target: runOf("b") }))).toBe("INVALID_REQUEST");
    const many = await put(Array.from({ length: 30 }, (_, n) => ({ key: `c${n}`, expected: 1 })));
    expect(await refusal(evals.evaluate({ suiteId: many.suiteId, target: on, repeats: 100 }))).toBe("INVALID_REQUEST");
    await evals.archiveSuite({ suiteId });
    expect(await refusal(evals.evaluate({ suiteId, target: on }))).toBe("INVALID_STATE");
  });

  test("runs of the reserved handler that nobody asked for as an evaluation", async () => {
    expect(await refusal(client.runs.createRun({ handler: evaluateHandler }))).toBe("INVALID_REQUEST");
    const { agent } = await client.agents.createAgent({ name: "Sly", handler: evaluateHandler });
    expect(await refusal(client.runs.createRun({ agentId: agent?.agentId ?? "" }))).toBe("INVALID_REQUEST");
  });
});

test("a repeated request answers the first evaluation, whatever has become of the suite since", async () => {
  const { suiteId, name } = await put([{ key: "a", expected: 1 }]);
  const request = { suiteId, target: target({ handler: "echo" }), repeats: 1, requestId: "once" };
  const first = await evals.evaluate(request);
  await put([{ key: "b", expected: 1 }], {}, name);
  await evals.archiveSuite({ suiteId });
  expect((await evals.evaluate(request)).evaluation?.evaluationId).toBe(first.evaluation?.evaluationId);
  expect(await refusal(evals.evaluate({ ...request, repeats: 2 }))).toBe("REQUEST_ID_REUSED");
});

describe("a suite", () => {
  test("gets a version with each put, and every version stays readable", async () => {
    const first = await put([{ key: "a", expected: 1 }]);
    expect(first).toMatchObject({
      version: 1n,
      cases: [{ key: "a", weight: 1 }],
      thresholds: { minPassRate: 0.8, minRepeats: 3 },
    });
    expect(await put([{ key: "a", expected: 1 }], {}, first.name)).toMatchObject({ version: 1n });
    const second = await put([{ key: "b", expected: 1 }], {}, first.name);
    expect(second).toMatchObject({ suiteId: first.suiteId, version: 2n });
    const { suite: old } = await evals.getSuite({ name: first.name, version: 1n });
    expect(old).toMatchObject({ version: 1n, cases: [{ key: "a" }] });
    expect((await evals.getSuite({ suiteId: first.suiteId })).suite).toMatchObject({ version: 2n });
    const { suites: versions } = await evals.listSuiteVersions({ suiteId: first.suiteId, minPosition: second.at });
    expect(versions.map(({ version }) => version)).toEqual([2n, 1n]);
    expect(versions.map(({ createTime }) => createTime)).toEqual([first.createTime, first.createTime]);
    expect(await refusal(evals.getSuite({ suiteId: first.suiteId, version: 3n }))).toBe("SUITE_NOT_FOUND");
    expect(await refusal(evals.putSuite({ suite: { ...second, etag: first.etag, description: "x" } }))).toBe(
      "ETAG_MISMATCH",
    );
  });

  test("comes back when it is put after it was archived", async () => {
    const { suiteId, name } = await put([{ key: "a", expected: 1 }]);
    const archived = await evals.archiveSuite({ suiteId });
    expect((await evals.archiveSuite({ suiteId })).position).toBe(archived.position);
    expect(archived.suite).toMatchObject({ status: 2, version: 1n });
    expect(await put([{ key: "a", expected: 1 }], {}, name)).toMatchObject({ status: 1, version: 2n });
  });

  test("is listed with the others", async () => {
    const { suiteId, at } = await put([{ key: "a", expected: 1 }]);
    const { suites: listed } = await evals.listSuites({ statuses: [1], pageSize: 1, minPosition: at });
    expect(listed.map((suite) => suite.suiteId)).toEqual([suiteId]);
  });

  test("is refused when a check can not be made, without changing anything", async () => {
    const bad = (cases: JsonValue[], thresholds: JsonValue = {}) => refusal(put(cases, thresholds));
    expect(await bad([{ key: "a" }])).toBe("INVALID_REQUEST");
    expect(await bad([])).toBe("INVALID_REQUEST");
    expect(
      await bad([
        { key: "a", expected: 1 },
        { key: "a", expected: 2 },
      ]),
    ).toBe("INVALID_REQUEST");
    expect(await bad([{ key: "a", checks: [{ pattern: { pattern: "(" } }] }])).toBe("INVALID_REQUEST");
    expect(await bad([{ key: "a", checks: [{ schema: { schema: { type: 7 } } }] }])).toBe("INVALID_REQUEST");
    expect(await bad([{ key: "a", checks: [{}] }])).toBe("INVALID_REQUEST");
    // What JSON does not have would keep everybody from reading the suite, and every list that it is in.
    const schema = { case: "schema", value: { schema: { minimum: Number.NaN } } } as const;
    const suite = { name: "nan", cases: [{ key: "a", checks: [{ kind: schema }] }] };
    expect(await refusal(client.evals.putSuite({ suite }))).toBe("INVALID_REQUEST");
    expect(await bad([{ key: "a", expected: 1 }], { minPassRate: 1 })).toBe("INVALID_REQUEST");
    expect(await bad([{ key: "a", expected: "x".repeat(1_100_000) }])).toBe("PAYLOAD_TOO_LARGE");
  });

  test("of another workspace is not there", async () => {
    const { suiteId } = await put([{ key: "a", expected: 1 }]);
    const stranger = installation.client({ workspaceId: newWorkspaceId() });
    expect(await refusal(stranger.evals.getSuite({ suiteId }))).toBe("SUITE_NOT_FOUND");
    expect(await refusal(stranger.evals.archiveSuite({ suiteId }))).toBe("SUITE_NOT_FOUND");
    expect(await refusal(stranger.evals.evaluate({ suiteId, target: target({ handler: "echo" }) }))).toBe(
      "SUITE_NOT_FOUND",
    );
  });
});
