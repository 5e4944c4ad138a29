import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { RunStatus, StepStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun, eventTypes } from "./runs.ts";
import { type OpenWork, openWork } from "./work-streams.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = (protocol: "connect" | "grpc" | "grpc-web" = "connect") =>
  installation.client({ workspaceId: newWorkspaceId(), protocol });
const error = { code: "OOPS", message: "again", retryable: true };

/** The reason of a stream that the server ended. */
function whyEnded({ ended }: OpenWork): Promise<string | undefined> {
  return reasonFor(ended.then((thrown) => Promise.reject(thrown as Error)));
}

/** Takes a run over a stream and records with every call that a stream has. */
async function workThrough(client: SignalboxClient, work: OpenWork): Promise<string> {
  const runId = await createRun(client, { handler: "by_hand" });
  work.want(1);
  const { leaseToken } = await work.run();
  expect(await work.call({ case: "heartbeat", value: { leaseToken } })).toMatchObject({
    case: "heartbeat",
    value: { cancelRequested: false },
  });
  const worker = { workerId: "streaming", runIds: [runId] };
  expect(await work.call({ case: "reportWorker", value: { worker } })).toMatchObject({ case: "reportWorker" });
  const started = await work.call({ case: "startStep", value: { leaseToken, key: "a" } });
  const stepId = started.case === "startStep" ? (started.value.step?.stepId ?? "") : "";
  await work.call({ case: "failStep", value: { leaseToken, stepId, error } });
  await work.call({ case: "startStep", value: { leaseToken, key: "a" } });
  expect(await work.call({ case: "completeStep", value: { leaseToken, stepId } })).toMatchObject({
    value: { step: { status: StepStatus.COMPLETED } },
  });
  const call = { leaseToken, key: "t", tool: "mail", effect: ToolEffect.EXTERNAL_WRITE };
  await openGate(client);
  const begun = await work.call({ case: "startToolCall", value: call });
  const toolCallId = begun.case === "startToolCall" ? (begun.value.toolCall?.toolCallId ?? "") : "";
  await work.call({ case: "failToolCall", value: { leaseToken, toolCallId, error } });
  await work.call({ case: "startToolCall", value: call });
  await work.call({ case: "succeedToolCall", value: { leaseToken, toolCallId, result: jsonValue("sent") } });
  await work.call({ case: "startToolCall", value: { ...call, key: "left open" } });
  const deltas = [{ stepKey: "a", text: "so far" }];
  expect((await work.call({ case: "publishDeltas", value: { leaseToken, deltas } })).case).toBe("publishDeltas");
  expect(await work.call({ case: "releaseRun", value: { leaseToken } })).toMatchObject({
    value: { run: { status: RunStatus.QUEUED } },
  });
  return runId;
}

describe.each(["connect", "grpc", "grpc-web"] as const)("over %s", (protocol) => {
  test("a stream carries a run from its claim to its end, with every call in between", async () => {
    const client = newClient(protocol);
    await using work = openWork(client, "by_hand");
    const runId = await workThrough(client, work);
    work.want(1);
    const { leaseToken, unknownToolCalls } = await work.run();
    const toolCallId = unknownToolCalls[0]?.toolCallId ?? "";
    expect(
      await work.call({ case: "reconcileToolCall", value: { leaseToken, toolCallId, note: "nothing was sent" } }),
    ).toMatchObject({ value: { toolCall: { status: ToolCallStatus.RECONCILED } } });
    expect(await work.call({ case: "failRun", value: { leaseToken, error } })).toMatchObject({
      value: { run: { status: RunStatus.QUEUED, failedAttempts: 1 } },
    });
    work.want(1);
    const again = await work.run();
    const output = jsonValue("done");
    expect(await work.call({ case: "completeRun", value: { leaseToken: again.leaseToken, output } })).toMatchObject({
      case: "completeRun",
      value: { run: { runId, status: RunStatus.SUCCEEDED } },
    });
    work.close();
    expect(await work.ended).toBeUndefined();
  });
});

test("a refused call is answered as the single call would be, and the stream goes on", async () => {
  const client = newClient();
  const { leaseToken } = await createAndClaim(client);
  await using work = openWork(client, "by_hand");
  const badCalls = [
    ["startStep", { leaseToken, key: "" }],
    ["startStep", { leaseToken: "no token", key: "a" }],
    ["completeStep", { leaseToken, stepId: "step_01ARZ3NDEKTSV4RRFFQ69G5FAV" }],
    ["completeRun", { leaseToken, output: jsonValue("x".repeat(1_100_000)) }],
    ["reportWorker", { worker: { workerId: "" } }],
  ] as const;
  for (const [name, value] of badCalls) {
    const single = await refusal(client.engine[name](value));
    const { code, reason, message, metadata } = single;
    const inStream = await work.call({ case: name, value } as Parameters<OpenWork["call"]>[0]);
    expect(inStream).toMatchObject({ case: "error", value: { code, reason, message, metadata } });
  }
  expect((await work.call({ case: "heartbeat", value: { leaseToken } })).case).toBe("heartbeat");
});

test("a call of a kind that the server does not know is refused under its number", async () => {
  await using work = openWork(newClient(), "by_hand");
  work.send({ call: 7n });
  const answer = await until(() => work.received.find(({ call }) => call === 7n), { what: "the answer" });
  expect(answer.response).toMatchObject({ case: "error", value: { reason: "INVALID_REQUEST", code: 3 } });
});

test.each([
  ["a call before a want", { call: 1n, request: { case: "heartbeat", value: { leaseToken: "x" } } }],
  ["a want without a claim first", { request: { case: "want", value: { runs: 1 } } }],
  ["a claim without handlers", { request: { case: "want", value: { claim: { workerId: "w" } } } }],
  ["a want of too many runs", { request: { case: "want", value: { runs: 10_001 } } }],
] as const)("%s ends the stream", async (_what, first) => {
  await using work = openWork(newClient(), "by_hand", first);
  expect(await whyEnded(work)).toBe("INVALID_REQUEST");
});

test("a call without a number ends the stream", async () => {
  await using work = openWork(newClient(), "by_hand");
  work.send({ request: { case: "heartbeat", value: { leaseToken: "x" } } });
  expect(await whyEnded(work)).toBe("INVALID_REQUEST");
});

test("as many runs come as are wanted, and no more", async () => {
  const client = newClient();
  const ids = await Promise.all(Array.from({ length: 5 }, () => createRun(client, { handler: "by_hand" })));
  await using work = openWork(client, "by_hand");
  work.want(1);
  work.want(2);
  const got = [await work.run(), await work.run(), await work.run()];
  const { leaseToken } = got[0]!;
  // Whatever would come too much has come by the time of a later answer.
  for (let n = 0; n < 5; n++) await work.call({ case: "heartbeat", value: { leaseToken } });
  expect(work.received.filter(({ response }) => response.case === "run")).toHaveLength(3);
  work.want(10);
  got.push(await work.run(), await work.run());
  expect(got.map(({ run }) => run.runId).toSorted()).toEqual(ids.toSorted());
});

test("many calls at a time are answered, each under its number", async () => {
  const client = newClient();
  const { leaseToken } = await createAndClaim(client);
  await using work = openWork(client, "by_hand");
  const keys = Array.from({ length: 300 }, (_, n) => `step-${n}`);
  const answers = await Promise.all(keys.map((key) => work.call({ case: "startStep", value: { leaseToken, key } })));
  expect(answers.map((answer) => answer.case === "startStep" && answer.value.step?.key)).toEqual(keys);
});

test("two workers that fight for one run over streams: one gets it", async () => {
  const client = newClient();
  await using one = openWork(client, "by_hand");
  await using other = openWork(client, "by_hand");
  for (const work of [one, other]) work.want(1);
  const runId = await createRun(client, { handler: "by_hand" });
  const winner = await Promise.race([one.run(), other.run()]);
  await client.engine.completeRun({ leaseToken: winner.leaseToken });
  const runs = [...one.received, ...other.received].filter(({ response }) => response.case === "run");
  expect(runs).toHaveLength(1);
  expect(await eventTypes(client, runId)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

test("a broken stream ends no lease", async () => {
  const client = newClient();
  const runId = await createRun(client, { handler: "by_hand" });
  const work = openWork(client, "by_hand");
  work.want(1);
  const { leaseToken } = await work.run();
  await work[Symbol.asyncDispose]();
  await using next = openWork(client, "by_hand");
  expect((await next.call({ case: "heartbeat", value: { leaseToken } })).case).toBe("heartbeat");
  await client.engine.completeRun({ leaseToken });
  expect(await eventTypes(client, runId)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

test("a run that was on its way when the connection broke comes to another worker, at the latest when its lease lapses", async () => {
  await using short = await openInstallation({ leaseTtlMs: 1_000 });
  for (let round = 0; round < 10; round++) {
    const leaving = short.client({ workspaceId: newWorkspaceId() });
    const work = openWork(leaving, "by_hand");
    work.want(5);
    await work.call({ case: "reportWorker", value: { worker: { workerId: "w" } } });
    const creating = createRun(leaving, { handler: "by_hand" });
    if (round % 2 === 0) await creating;
    await work[Symbol.asyncDispose]();
    const runId = await creating;
    const { run, leaseToken } = await claim(leaving, "by_hand");
    expect(run.runId).toBe(runId);
    await leaving.engine.completeRun({ leaseToken });
  }
});

test("HTTP/1.1 is told that a stream both ways takes HTTP/2", async () => {
  const client = installation.client({ httpVersion: "1.1", workspaceId: newWorkspaceId() });
  await using work = openWork(client, "by_hand");
  expect(await work.ended).toMatchObject({ code: Code.Unknown, rawMessage: "HTTP 505" });
});

test("every call of the service that names a lease can come on a stream", () => {
  const alone = new Set(["claimRun", "listWorkers", "work"]);
  const carried = EngineService.method.work.input.fields.map(({ localName }) => localName);
  const methods = EngineService.methods.map(({ localName }) => localName).filter((name) => !alone.has(name));
  expect(carried.filter((name) => name !== "call" && name !== "want").toSorted()).toEqual(methods.toSorted());
});
