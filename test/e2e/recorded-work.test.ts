import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { RunStatus, StepStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { HandlerError } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { type Claim, claim, createAndClaim } from "./claims.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

/** A workspace whose policy lets every tool call start. */
async function newOpenWorkspace() {
  const workspace = newWorkspace();
  await openGate(workspace.client);
  return workspace;
}

const error = { code: "TOOL_DOWN", message: "no answer", retryable: true };
const retryPolicy = { initialBackoff: { nanos: 1_000_000 } };

/** Gives the run back and claims it again. */
async function nextAttempt(client: SignalboxClient, { leaseToken }: Claim): Promise<Claim> {
  await client.engine.releaseRun({ leaseToken });
  return claim(client, "by_hand");
}

describe("steps", () => {
  test("of earlier attempts are answered from the record, and nothing is recorded", async () => {
    const { client } = newWorkspace();
    const first = await createAndClaim(client);
    const { step } = await client.engine.startStep({ leaseToken: first.leaseToken, key: "a", input: jsonValue("in") });
    const stepId = step?.stepId ?? "";
    await client.engine.completeStep({ leaseToken: first.leaseToken, stepId, output: jsonValue([1, { x: "y" }]) });
    const { leaseToken, position } = await nextAttempt(client, first);
    const again = await client.engine.startStep({ leaseToken, key: "a" });
    expect(again.step).toMatchObject({ stepId, status: StepStatus.COMPLETED, attempt: 1 });
    expect(valueToJson(again.step?.output)).toEqual([1, { x: "y" }]);
    expect(again.position).toBe(position);
  });

  test("run once, whatever becomes of the attempts around them", async () => {
    const { client, workspaceId } = newWorkspace();
    const ran: string[] = [];
    await using _worker = installation.worker({
      workspaceId,
      handlers: {
        async careful(ctx) {
          const one = await ctx.step("one", () => ran.push("one"));
          if (ctx.attempt === 1) throw new HandlerError("FLAKY", "after the first step");
          const two = await ctx.step("two", () => ran.push("two"));
          if (ctx.attempt === 2) throw new HandlerError("FLAKY", "after the second step");
          return [one, two];
        },
      },
    });
    const { run } = await client.runs.createRun({ handler: "careful", retryPolicy });
    const waited = await client.runs.waitRun({ runId: run?.runId ?? "" });
    expect(waited.run).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 3 });
    expect(valueToJson(waited.run?.output)).toEqual([1, 2]);
    expect(ran).toEqual(["one", "two"]);
  });

  test("that do not fit into a claim are answered when they are started", async () => {
    const { client } = newWorkspace();
    const first = await createAndClaim(client);
    const output = jsonValue("x".repeat(900_000));
    for (const key of ["a", "b", "c"]) {
      const { step } = await client.engine.startStep({ leaseToken: first.leaseToken, key });
      await client.engine.completeStep({ leaseToken: first.leaseToken, stepId: step?.stepId ?? "", output });
    }
    const next = await nextAttempt(client, first);
    expect(next.recordedStepsComplete).toBe(false);
    expect(next.recordedSteps.map(({ key, outputOmitted }) => [key, outputOmitted])).toEqual([
      ["a", false],
      ["b", false],
      ["c", true],
    ]);
    const { step } = await client.engine.startStep({ leaseToken: next.leaseToken, key: "c" });
    expect(step).toMatchObject({ status: StepStatus.COMPLETED, output });
  });

  test("may be started again after a failure, and count it", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    const { step } = await client.engine.startStep({ leaseToken, key: "a" });
    const stepId = step?.stepId ?? "";
    const failed = await client.engine.failStep({ leaseToken, stepId, error, usage: { inputTokens: 3n } });
    expect(failed.step).toMatchObject({ status: StepStatus.FAILED, error });
    const again = await client.engine.startStep({ leaseToken, key: "a" });
    expect(again.step).toMatchObject({ stepId, status: StepStatus.RUNNING, attempt: 2 });
    await client.engine.completeStep({ leaseToken, stepId, usage: { inputTokens: 4n, costMicros: 5n } });
    expect((await client.runs.getRun({ runId: run.runId })).run?.usage).toMatchObject({
      inputTokens: 7n,
      costMicros: 5n,
    });
  });

  test("can be completed twice with the same output, and with no other", async () => {
    const { client } = newWorkspace();
    const { leaseToken } = await createAndClaim(client);
    const { step } = await client.engine.startStep({ leaseToken, key: "a" });
    const request = { leaseToken, stepId: step?.stepId ?? "", output: jsonValue(1) };
    const first = await client.engine.completeStep(request);
    expect(await client.engine.completeStep(request)).toEqual(first);
    expect(await refusal(client.engine.completeStep({ ...request, output: jsonValue(2) }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
    });
    expect(await refusal(client.engine.failStep({ ...request, error }))).toMatchObject({ reason: "INVALID_STATE" });
  });

  test("must have been started", async () => {
    const { client } = newWorkspace();
    const { leaseToken } = await createAndClaim(client);
    const stepId = "step_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    expect(await refusal(client.engine.completeStep({ leaseToken, stepId }))).toMatchObject({
      code: Code.NotFound,
      reason: "STEP_NOT_FOUND",
    });
  });
});

describe("tool calls", () => {
  const mail = { key: "mail", tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE, arguments: jsonValue({ to: "x" }) };

  test("with an open outcome are refused until somebody has looked, then answered from the record", async () => {
    const { client } = await newOpenWorkspace();
    const first = await createAndClaim(client);
    const { toolCall } = await client.engine.startToolCall({ leaseToken: first.leaseToken, ...mail });
    const toolCallId = toolCall?.toolCallId ?? "";
    const { leaseToken, unknownToolCalls } = await nextAttempt(client, first);
    expect(unknownToolCalls).toMatchObject([{ toolCallId, status: ToolCallStatus.UNKNOWN, key: "mail" }]);
    expect(valueToJson(unknownToolCalls[0]?.arguments)).toEqual({ to: "x" });
    expect(await refusal(client.engine.startToolCall({ leaseToken, ...mail }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
      metadata: { status: "UNKNOWN" },
    });
    expect(await refusal(client.engine.succeedToolCall({ leaseToken, toolCallId }))).toMatchObject({
      reason: "INVALID_STATE",
    });
    const note = "found in the outbox";
    const reconciled = await client.engine.reconcileToolCall({
      leaseToken,
      toolCallId,
      note,
      result: jsonValue("id-7"),
    });
    expect(reconciled.toolCall).toMatchObject({ status: ToolCallStatus.RECONCILED, note });
    const again = await client.engine.startToolCall({ leaseToken, ...mail });
    expect(again.toolCall).toMatchObject({ status: ToolCallStatus.RECONCILED });
    expect(valueToJson(again.toolCall?.result)).toBe("id-7");
    const { toolCalls } = await client.runs.listToolCalls({ runId: first.run.runId, minPosition: again.position });
    expect(toolCalls).toMatchObject([{ status: ToolCallStatus.RECONCILED, note, attempt: 1 }]);
  });

  test.each([
    ["that only read", { effect: ToolEffect.READ }],
    ["that are idempotent", { idempotent: true }],
  ])("%s may be repeated after a lost lease", async (_name, change) => {
    const { client } = await newOpenWorkspace();
    const call = { ...mail, ...change };
    const first = await createAndClaim(client);
    await client.engine.startToolCall({ leaseToken: first.leaseToken, ...call });
    const { leaseToken, unknownToolCalls } = await nextAttempt(client, first);
    expect(unknownToolCalls).toEqual([]);
    const again = await client.engine.startToolCall({ leaseToken, ...call });
    expect(again.toolCall).toMatchObject({ status: ToolCallStatus.STARTED, attempt: 2 });
  });

  test("that succeeded are answered from the record in every later attempt", async () => {
    const { client } = await newOpenWorkspace();
    const first = await createAndClaim(client);
    const { toolCall } = await client.engine.startToolCall({ leaseToken: first.leaseToken, ...mail });
    const done = { leaseToken: first.leaseToken, toolCallId: toolCall?.toolCallId ?? "", result: jsonValue("sent") };
    const succeeded = await client.engine.succeedToolCall(done);
    expect(await client.engine.succeedToolCall(done)).toEqual(succeeded);
    const { leaseToken } = await nextAttempt(client, first);
    const again = await client.engine.startToolCall({ leaseToken, ...mail });
    expect(again.toolCall).toMatchObject({ status: ToolCallStatus.SUCCEEDED, attempt: 1 });
    expect(valueToJson(again.toolCall?.result)).toBe("sent");
  });

  test("that failed may be made again", async () => {
    const { client } = await newOpenWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mail });
    await client.engine.failToolCall({ leaseToken, toolCallId: toolCall?.toolCallId ?? "", error });
    const again = await client.engine.startToolCall({ leaseToken, ...mail });
    expect(again.toolCall).toMatchObject({ status: ToolCallStatus.STARTED, attempt: 2 });
    expect((await client.runs.getRun({ runId: run.runId })).run?.usage).toMatchObject({ toolCalls: 2n });
  });

  test("with an open outcome, of whatever run, are found and reconciled by people", async () => {
    const { client } = await newOpenWorkspace();
    const unknown: string[] = [];
    for (const handler of ["first", "second"]) {
      const { run, leaseToken } = await createAndClaim(client, handler);
      await client.engine.startToolCall({ leaseToken, ...mail });
      await client.engine.releaseRun({ leaseToken });
      unknown.push(run.runId);
    }
    const statuses = [ToolCallStatus.UNKNOWN];
    const inbox = async (minPosition = 0n) => (await client.runs.listToolCalls({ statuses, minPosition })).toolCalls;
    const { position: head } = (await client.runs.getRun({ runId: unknown[1] ?? "" })).run ?? {};
    const found = await inbox(head);
    expect(found.map(({ runId }) => runId)).toEqual(unknown);
    const { runId = "", toolCallId = "" } = found[0] ?? {};
    const by = { runId, toolCallId, note: "the outbox has it", result: jsonValue("sent") };
    const reconciled = await client.engine.reconcileToolCall(by);
    expect(reconciled.toolCall).toMatchObject({ status: ToolCallStatus.RECONCILED });
    expect(await client.engine.reconcileToolCall(by)).toEqual(reconciled);
    expect(await inbox(reconciled.position)).toMatchObject([{ runId: unknown[1] }]);
    const { leaseToken } = await claim(client, "first");
    const again = await client.engine.startToolCall({ leaseToken, ...mail });
    expect(valueToJson(again.toolCall?.result)).toBe("sent");
  });

  test("of a handler are made once: the next attempt reconciles what the lost one left", async () => {
    const { client, workspaceId } = await newOpenWorkspace();
    const lost = await createAndClaim(client, "mailer");
    await client.engine.startToolCall({ leaseToken: lost.leaseToken, ...mail });
    await client.engine.releaseRun({ leaseToken: lost.leaseToken });
    const sent: string[] = [];
    await using _worker = installation.worker({
      workspaceId,
      handlers: {
        async mailer(ctx) {
          for (const { key } of ctx.unknownToolCalls) {
            await ctx.reconcile(key, { note: "it is in the outbox", tookEffect: true, result: "sent before" });
          }
          return ctx.tool("mail", { tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE }, () => sent.push("mail"));
        },
      },
    });
    const { run } = await client.runs.waitRun({ runId: lost.run.runId });
    expect(run).toMatchObject({ status: RunStatus.SUCCEEDED });
    expect(valueToJson(run?.output)).toBe("sent before");
    expect(sent).toEqual([]);
  });
});
