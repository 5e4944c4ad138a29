import { afterAll, describe, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
installation.worker({ workspaceId });
const { run, text, json, list } = createCommands(installation.url, workspaceId);

interface JsonRun {
  readonly runId: string;
  readonly status: string;
  readonly position: string;
}

const get = (runId: string) => json<JsonRun>("runs", "get", runId);

async function reach(runId: string, status: string): Promise<void> {
  await until(async () => (await get(runId)).status === `RUN_STATUS_${status}`, { what: `${runId} to be ${status}` });
}

async function eventTypes(runId: string): Promise<string[]> {
  return (await list<{ type: string }>("events", "ls", "--run", runId)).map(({ type }) => type);
}

describe("pause and resume", () => {
  test("stop a queued run and let it go on", async () => {
    const { runId } = await json<JsonRun>("run", "echo", "--queue", "nobody");
    const told = await text("runs", "pause", runId, "--note", "not now");
    expect(told).toMatch(/status +PAUSED\npaused +OPERATOR: not now, since 2.* by local\n/);
    expect(await json("runs", "resume", runId)).toMatchObject({ status: "RUN_STATUS_QUEUED" });
  });

  test("give a run that has used up its budget a larger one, and leave its other limits", async () => {
    const budget = ["--budget", "steps=1,tokens=500"];
    const { runId } = await json<JsonRun>("run", "steps", "--input", '{"count":2}', ...budget);
    await reach(runId, "PAUSED");
    expect(await text("runs", "get", runId)).toMatch(
      /paused +BUDGET[^]*usage +1 steps[^]*budget +500 tokens, 1 steps\n/,
    );
    const refused = await run("runs", "resume", runId);
    expect(refused).toMatchObject({
      code: exitCodes.failed,
      stderr: expect.stringContaining("INVALID_STATE") as unknown,
    });
    expect(await json("runs", "resume", runId, "--budget", "steps=5")).toMatchObject({
      budget: { maxTokens: "500", maxSteps: "5" },
    });
    expect((await run("runs", "wait", runId)).code).toBe(exitCodes.ok);
  });

  test("let a run go on that was paused because its attempts were used up", async () => {
    const retry = ["--retry", "attempts=1,on-exhausted=pause"];
    const { runId } = await json<JsonRun>("run", "flaky", "--input", '{"failures":1}', ...retry);
    await reach(runId, "PAUSED");
    expect(await text("runs", "get", runId)).toMatch(/paused +ATTEMPTS_EXHAUSTED[^]*retry +1 attempts, .*then paused/);
    await json("runs", "resume", runId);
    const pauses = async () => (await eventTypes(runId)).filter((type) => type === "run.paused").length;
    await until(async () => (await pauses()) === 2, { what: "the run to be tried, and paused, again" });
  });
});

describe("send", () => {
  test("answers a run that waits, from the thread that it listens to", async () => {
    const { runId } = await json<JsonRun>("run", "wait", "--input", '{"thread":"th_desk"}');
    await reach(runId, "WAITING");
    expect(await text("runs", "get", runId)).toMatch(/status +WAITING\nwaits for +a message of th_desk\n/);
    const send = ["runs", "send", runId, '{"approved":true}', "--thread", "th_desk", "--request-id", "answer"];
    expect(await json(...send)).toMatchObject({ threadId: "th_desk", number: 1, content: { approved: true } });
    expect((await run("runs", "wait", runId)).code).toBe(exitCodes.ok);
    expect(await get(runId)).toMatchObject({ output: { message: { approved: true } } });
  });

  test("shows the message to people", async () => {
    const { runId } = await json<JsonRun>("run", "echo", "--queue", "nobody");
    expect(await text("runs", "send", runId, "go on")).toMatch(
      new RegExp(`^message +msg_\\w+\nnumber +1\ncontent +"go on"\nrun +${runId} QUEUED\n`),
    );
  });
});

describe("retry and fork", () => {
  test("retry prints the id of the new run, the same each time", async () => {
    const { runId } = await json<JsonRun>("run", "echo", "--queue", "nobody");
    await json("runs", "cancel", runId);
    const retried = (await text("runs", "retry", runId, "--note", "again")).trim();
    expect(retried).not.toBe(runId);
    expect(await json("runs", "retry", runId)).toMatchObject({ runId: retried, baseRunId: runId });
    expect(await text("runs", "get", retried)).toMatch(new RegExp(`base +${runId} up to \\d+\n`));
  });

  test("fork takes what was done up to a position, and another input", async () => {
    const ended = await json<JsonRun>("run", "steps", "--input", '{"count":2}', "--wait");
    const all = (await text("runs", "fork", ended.runId)).trim();
    expect((await run("runs", "wait", all)).code).toBe(exitCodes.ok);
    expect((await eventTypes(all)).filter((type) => type.startsWith("step."))).toEqual(["step.reused", "step.reused"]);

    const events = await list<{ type: string; position: string }>("events", "ls", "--run", ended.runId);
    const { position = "" } = events.find(({ type }) => type === "step.completed") ?? {};
    const part = await json<JsonRun>("runs", "fork", ended.runId, "--position", position, "--input", '{"count":1}');
    expect(part).toMatchObject({ baseRunId: ended.runId, basePosition: position, input: { count: 1 } });
  });
});

describe("ls", () => {
  test("filters by status, end reason, queue, session and parent", async () => {
    const dead = await json<JsonRun>("run", "flaky", "--input", '{"failures":9}', "--retry", "attempts=1");
    await reach(dead.runId, "FAILED");
    const said = await json<JsonRun>("run", "echo", "--queue", "own", "--session", "sess_ls", "--priority", "7");
    const parent = await json<JsonRun>("run", "children", "--input", '{"count":1,"handler":"wait"}');
    await reach(parent.runId, "WAITING");
    const ids = async (...filters: string[]) =>
      (await list<JsonRun>("runs", "list", ...filters)).map(({ runId }) => runId);
    await until(async () => (await ids("--parent", parent.runId)).length === 1, { what: "the list to show the child" });
    const [child = ""] = await ids("--parent", parent.runId);
    expect(await ids("--dead")).toEqual([dead.runId]);
    expect(await ids("--end-reason", "attempts_exhausted,canceled", "--handler", "flaky")).toEqual([dead.runId]);
    expect(await ids("--queue", "own")).toEqual([said.runId]);
    expect(await ids("--session", "sess_ls")).toEqual([said.runId]);
    await until(async () => (await ids("--status", "waiting")).length === 2, { what: "parent and child to wait" });
    expect(await text("runs", "get", said.runId)).toMatch(/session +sess_ls\nqueue +own\npriority +7\n/);
    expect(await text("runs", "get", child)).toMatch(new RegExp(`parent +${parent.runId} \\(depth 1\\)\n`));
    expect(await text("runs", "get", parent.runId)).toMatch(new RegExp(`waits for +${child}\n`));
  });
});
