import { expect, test } from "vitest";
import { type JsonValue, jsonValue, RunStatus } from "../../src/client/client.ts";
import { builtInHandlers } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { fakeEngine } from "./fake-engine.ts";
import { outcomeOf, startWorker } from "./running.ts";

function run(handler: keyof typeof builtInHandlers, input: JsonValue) {
  return outcomeOf(fakeEngine(), builtInHandlers[handler], {
    input: jsonValue(input),
    retryPolicy: { maxAttempts: 9 },
  });
}

test.each([[{ hello: ["world", null] }], ["text"], [null], [0]])("echo returns %j", async (input) => {
  expect(await run("echo", input)).toMatchObject({ status: "SUCCEEDED", output: input });
});

test("sleep returns its input", async () => {
  expect(await run("sleep", { ms: 5, tag: "a" })).toMatchObject({ status: "SUCCEEDED", output: { ms: 5, tag: "a" } });
});

test("work ends when its run is canceled", async () => {
  const engine = fakeEngine(60);
  const told: unknown[] = [];
  startWorker(engine, { handlers: builtInHandlers, concurrency: 1, onError: (error) => told.push(error) });
  const long = engine.submit({ handler: "work", input: jsonValue({ ms: 86_400_000 }) });
  await until(() => long.leaseToken, { what: "a claim" });
  engine.cancel(long);
  const next = engine.submit({ handler: "echo", input: jsonValue("free") });
  expect(await engine.ended(next)).toMatchObject({ output: "free" });
  expect(told).toEqual([]);
});

test.each([0, 1, 3])("flaky fails %i times, then succeeds", async (failures) => {
  expect(await run("flaky", { failures })).toMatchObject({ status: "SUCCEEDED", output: { attempts: failures + 1 } });
});

test("file stores what it is given, or a greeting", async () => {
  const engine = fakeEngine();
  const { run: ran, output } = await outcomeOf(engine, builtInHandlers.file, {
    input: jsonValue({ name: "a.txt", text: "a" }),
  });
  expect(ran.steps.has("a.txt")).toBe(true);
  const [stored] = engine.artifacts.all;
  expect(output).toEqual({ artifact_id: stored?.artifact.artifactId, sha256: stored?.artifact.sha256 });
  expect(await run("file", null)).toMatchObject({ status: "SUCCEEDED" });
});

test("steps records as many steps as it is asked for", async () => {
  const { run: ran, output } = await run("steps", { count: 3 });
  expect(output).toEqual({ count: 3, steps: [1, 2, 3] });
  expect([...ran.steps.keys()]).toEqual(["step-1", "step-2", "step-3"]);
  expect(await run("steps", { count: 0 })).toMatchObject({ output: { count: 0, steps: [] } });
});

test("approve returns what people have approved", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: builtInHandlers });
  const asking = engine.submit({ handler: "approve", input: jsonValue({ to: "ada" }) });
  await until(() => asking.run.status === RunStatus.WAITING, { what: "the run to wait" });
  engine.gate.approve();
  expect(await engine.ended(asking)).toMatchObject({ status: "SUCCEEDED", output: { sent: { to: "ada" } } });
});

test.each([
  ["sleep", { ms: -1 }, "input.ms must be a whole number from 0 to 86400000; got -1"],
  ["sleep", { ms: 86_400_001 }, "input.ms must be a whole number from 0 to 86400000; got 86400001"],
  ["sleep", { ms: "5" }, 'input.ms must be a whole number from 0 to 86400000; got "5"'],
  ["sleep", {}, "input.ms must be a whole number from 0 to 86400000; got nothing"],
  ["sleep", 5, "input.ms must be a whole number from 0 to 86400000; got the input 5"],
  ["flaky", { failures: 1.5 }, "input.failures must be a whole number from 0 to 100; got 1.5"],
  ["steps", { count: 1_001 }, "input.count must be a whole number from 0 to 1000; got 1001"],
  [
    "steps",
    { count: "x".repeat(1_000) },
    "input.count must be a whole number from 0 to 1000; got 1002 characters of JSON",
  ],
] as const)("%s refuses %j for good", async (handler, input, message) => {
  const { status, error } = await run(handler, input);
  expect(status).toBe("FAILED");
  expect(error).toMatchObject({ code: "INVALID_INPUT", message, retryable: false });
});
