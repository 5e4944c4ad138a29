import { fromJson } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";
import { EvalTargetSchema, GateVerdict, SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { startSignalbox } from "../cli/signalbox.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

const installation = await openInstallation({ leaseTtlMs: 1_000 });
afterAll(() => installation[Symbol.asyncDispose]());

test("an evaluation whose worker is killed in the middle goes on with the next one, and its trials are counted once", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
  const input = { ms: 50 };
  const suite = fromJson(SuiteSchema, { name: "killed", cases: [{ key: "a", input, expected: input }] });
  const { suiteId = "" } = (await client.evals.putSuite({ suite })).suite ?? {};
  const target = fromJson(EvalTargetSchema, { handler: "work" });
  const { evaluation } = await client.evals.evaluate({ suiteId, target, repeats: 20, parallelism: 3 });
  const runId = evaluation?.evaluationId ?? "";
  const trials = async () => (await client.runs.listRuns({ parentRunId: runId })).runs;
  const done = async () => (await trials()).filter(({ status }) => status === RunStatus.SUCCEEDED).length;
  {
    await using first = startSignalbox(["worker"], env);
    await until(async () => (await done()) >= 3, { what: "three trials" });
    await first.stop("SIGKILL");
  }
  expect(await done()).toBeLessThan(20);
  await using _second = startSignalbox(["worker"], env);
  const { run } = await client.runs.waitRun({ runId });
  expect(run?.status).toBe(RunStatus.SUCCEEDED);
  const { evaluation: ended } = await client.evals.getEvaluation({ evaluationId: runId });
  expect(ended?.scorecard).toMatchObject({ counts: { passed: 20, failed: 0 }, gate: { verdict: GateVerdict.PASS } });
  await until(async () => (await done()) === 20, { what: "all trials in the list" });
  expect(await trials()).toHaveLength(20);
});
