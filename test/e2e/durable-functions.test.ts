import { afterAll, expect, test } from "vitest";
import { z } from "zod";
import { AgentStatus, follow, jsonValue, RunStatus, StepKind, valueToJson } from "../../src/client/client.ts";
import { defineHandler, defineTool, type HandlerContext, ToolEffect } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

test("a run sleeps, waits for children and for a message without a worker, and goes on where it was", async () => {
  const { workspaceId, client } = newWorkspace();
  let ran = 0;
  installation.worker({
    workspaceId,
    concurrency: 1,
    handlers: {
      child: (ctx, input) => ctx.step("double", () => Number(input) * 2),
      it: async (ctx) => {
        await ctx.step("once", () => ++ran);
        await ctx.sleep(1_500);
        const doubled = await ctx.runAll([1, 2, 3].map((input) => ({ handler: "child", input })));
        const said = await ctx.waitForMessage("th_1");
        return { doubled: doubled.map(Number), said };
      },
    },
  });
  const runId = await createRun(client, { handler: "it", roomId: "room_a" });
  const isWaiting = async () => {
    const { run } = await client.runs.getRun({ runId });
    return run?.waitingOn?.conditions.some(({ condition }) => condition.case === "message");
  };
  await until(isWaiting, { what: "the run to wait for a message", timeoutMs: 20_000 });
  await client.runs.sendMessage({ runId, threadId: "th_1", content: jsonValue({ go: "on" }) });
  const run = await ended(client, runId);
  expect(run.status).toBe(RunStatus.SUCCEEDED);
  expect(valueToJson(run.output)).toEqual({ doubled: [2, 4, 6], said: { go: "on" } });
  expect([ran, run.failedAttempts]).toEqual([1, 0]);
  const { steps } = await client.runs.listSteps({ runId, minPosition: run.position });
  expect(steps.map(({ kind, sequence }) => [kind, sequence])).toEqual([
    [StepKind.FUNCTION, 1],
    [StepKind.SLEEP, 2],
    [StepKind.RUN, 3],
    [StepKind.RUN, 4],
    [StepKind.RUN, 5],
    [StepKind.MESSAGE, 6],
  ]);
  const { runs } = await client.runs.listRuns({ parentRunId: runId, minPosition: run.position });
  expect(runs.map(({ roomId, depth }) => [roomId, depth])).toEqual([1, 2, 3].map(() => ["room_a", 1]));
});

test("a run whose budget is used up is paused and goes on with a larger one", async () => {
  const { workspaceId, client } = newWorkspace();
  const ran: string[] = [];
  const step = (ctx: HandlerContext, name: string) => ctx.step(name, () => ran.push(name));
  const it = async (ctx: HandlerContext) => [await step(ctx, "one"), await step(ctx, "two"), await step(ctx, "three")];
  installation.worker({ workspaceId, handlers: { it } });
  const runId = await createRun(client, { handler: "it", budget: { maxSteps: 2n } });
  const paused = async () => (await client.runs.getRun({ runId })).run?.status === RunStatus.PAUSED;
  await until(paused, { what: "the run to pause" });
  await client.runs.resumeRun({ runId, budget: { maxSteps: 10n } });
  expect(valueToJson((await ended(client, runId)).output)).toEqual([1, 2, 3]);
  expect(ran).toEqual(["one", "two", "three"]);
});

test("a run that is asked to pause in the middle of a step ends that, pauses, and goes on", async () => {
  const { workspaceId, client } = newWorkspace();
  let runId = "";
  const it = async (ctx: HandlerContext) => {
    await ctx.step("one", () => client.runs.pauseRun({ runId: ctx.currentRun.runId }).then(() => 1));
    return ctx.step("two", () => "done");
  };
  installation.worker({ workspaceId, handlers: { it } });
  runId = await createRun(client, { handler: "it" });
  const paused = async () => (await client.runs.getRun({ runId })).run?.status === RunStatus.PAUSED;
  await until(paused, { what: "the run to pause" });
  await client.runs.resumeRun({ runId });
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED, failedAttempts: 0 });
});

test("a retry of a failed run does not do again what the failed one had done", async () => {
  const { workspaceId, client } = newWorkspace();
  await openGate(client);
  let works = false;
  const ran: string[] = [];
  const note = defineTool({
    name: "note",
    description: "Notes.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: z.object({ text: z.string() }),
    run: ({ text }) => ran.push(text),
  });
  const it = async (ctx: HandlerContext) => {
    const one = await ctx.step("one", () => ran.push("one"));
    const two = await ctx.tool("note", { text: "two" });
    if (!works) await ctx.step("three", () => Promise.reject(new Error("broken")));
    return [one, two ?? null, await ctx.sleep(0).then(() => ctx.step("four", () => ran.push("four")))];
  };
  installation.worker({ workspaceId, handlers: { it }, tools: [note] });
  const failed = await ended(client, await createRun(client, { handler: "it", retryPolicy: { maxAttempts: 1 } }));
  expect(failed.status).toBe(RunStatus.FAILED);
  works = true;
  const { run } = await client.runs.retryRun({ runId: failed.runId });
  const again = await ended(client, run?.runId ?? "");
  expect(valueToJson(again.output)).toEqual([1, 2, 3]);
  expect(ran).toEqual(["one", "two", "four"]);
  expect(await eventTypes(client, again.runId)).toContain("tool_call.reused");
});

test("output is seen while it is made", async () => {
  const { workspaceId, client } = newWorkspace();
  const pieces: string[] = [];
  const goOn = Promise.withResolvers<void>();
  const it = (ctx: HandlerContext) =>
    ctx.step("talk", async ({ emit }) => {
      emit("Hello, ");
      await goOn.promise;
      emit("world");
      return "Hello, world";
    });
  installation.worker({ workspaceId, handlers: { it } });
  const runId = await createRun(client, { handler: "it" });
  const onDelta = ({ delta }: { delta?: { stepKey: string; text: string } | undefined }) => {
    pieces.push(`${delta?.stepKey}: ${delta?.text}`);
    goOn.resolve();
  };
  for await (const _event of follow(client, { filter: { runId }, onDelta }));
  expect(pieces).toEqual(["talk: Hello, ", "talk: world"]);
});

test("a typed handler is an agent of the workspace, with its schemas", async () => {
  const { workspaceId, client } = newWorkspace();
  const agent = { name: "Adder", instructions: "Add." };
  const add = defineHandler({ input: z.array(z.number()), output: z.number(), agent }, (_ctx, numbers) =>
    numbers.reduce((a, b) => a + b, 0),
  );
  installation.worker({ workspaceId, handlers: { add } });
  const published = await until(
    async () => (await client.agents.listAgents({ handler: "add" })).agents.find(({ name }) => name === "Adder"),
    { what: "the agent" },
  );
  expect(published).toMatchObject({
    status: AgentStatus.ACTIVE,
    instructions: "Add.",
    inputSchema: { type: "array", items: { type: "number" } },
    outputSchema: { type: "number" },
  });
  const { agentId } = published;
  expect(
    valueToJson((await ended(client, await createRun(client, { agentId, input: jsonValue([1, 2]) }))).output),
  ).toBe(3);
  expect(await ended(client, await createRun(client, { agentId, input: jsonValue(["1"]) }))).toMatchObject({
    error: { code: "INVALID_INPUT", message: 'input["0"]: Invalid input: expected number, received string' },
  });
});

test("a run that starts itself over and over ends with a clear reason", async () => {
  const { workspaceId, client } = newWorkspace();
  installation.worker({ workspaceId, handlers: { it: (ctx) => ctx.run({ handler: "it" }) } });
  const run = await ended(client, await createRun(client, { handler: "it" }));
  expect(run).toMatchObject({ status: RunStatus.FAILED, error: { code: "QUOTA_EXCEEDED", retryable: false } });
});
