import { create, toBinary } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim, createAndClaim } from "./claims.ts";
import { askByCall, decision, mail } from "./people.ts";
import { type ErrorBody, infoOf, postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const client = installation.client();

const mebibyte = 1024 * 1024;
const tooLargeValue = jsonValue("x".repeat(mebibyte));

describe("what is too large is refused with its limit, and nothing is cut:", () => {
  const tooLarge = jsonValue("x".repeat(mebibyte));

  test("the input of a run", async () => {
    const call = client.runs.createRun({ requestId: "too-large", handler: "echo", input: tooLarge });
    const refused = await refusal(call);
    expect(refused).toMatchObject({ code: Code.ResourceExhausted, reason: "PAYLOAD_TOO_LARGE" });
    expect(refused.metadata).toEqual({
      limit: String(mebibyte),
      size: String(toBinary(ValueSchema, tooLarge).length),
    });
    expect(refused.message).toContain(String(mebibyte));
    // The refused call has left no trace: its request_id is free.
    expect(await client.runs.createRun({ requestId: "too-large", handler: "nobody" })).toMatchObject({ run: {} });
  });

  test("what a worker records", async () => {
    const { leaseToken } = await createAndClaim(client, "too_large");
    const { step } = await client.engine.startStep({ leaseToken, key: "a" });
    const call = { leaseToken, key: "a", tool: "t", effect: ToolEffect.READ };
    const { toolCall } = await client.engine.startToolCall(call);
    const toolCallId = toolCall?.toolCallId ?? "";
    const calls = [
      client.engine.startStep({ leaseToken, key: "b", input: tooLarge }),
      client.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "", output: tooLarge }),
      client.engine.startToolCall({ ...call, key: "b", arguments: tooLarge }),
      client.engine.succeedToolCall({ leaseToken, toolCallId, result: tooLarge }),
      client.engine.completeRun({ leaseToken, output: tooLarge }),
    ];
    for (const each of calls) expect(await refusal(each)).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
    const error = { code: "LONG", message: "x".repeat(50_001), retryable: false };
    expect(await refusal(client.engine.failRun({ leaseToken, error }))).toMatchObject({ reason: "INVALID_REQUEST" });
    await client.engine.completeRun({ leaseToken, output: jsonValue("small") });
  });

  test("a request", async () => {
    const input = "x".repeat(4 * mebibyte);
    const answer = await postJson<ErrorBody>(installation.url, "RunService/CreateRun", { handler: "echo", input });
    expect(answer).toMatchObject({ status: 429, body: { code: "resource_exhausted" } });
    expect(infoOf(answer.body)).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: String(4 * mebibyte) },
    });
  });

  test("but not what is just as large as allowed", async () => {
    const overhead = toBinary(ValueSchema, tooLarge).length - mebibyte;
    const input = jsonValue("x".repeat(mebibyte - overhead));
    const { run } = await client.runs.createRun({ handler: "largest", input });
    const claimed = await claim(client, "largest");
    expect(claimed.run).toMatchObject({ runId: run?.runId, input });
    await client.engine.completeRun({ leaseToken: claimed.leaseToken, output: claimed.run.input! });
    const filter = { runId: claimed.run.runId, types: ["run.succeeded"] };
    const { events } = await client.events.listEvents({ filter });
    expect(events[0]?.payload).toMatchObject({ case: "runSucceeded", value: { output: input } });
  });
});

describe("what people write is as large as it may be, and no larger:", () => {
  test("a message", async () => {
    const { room } = await client.rooms.createRoom({ name: "ä".repeat(200), topic: "ä".repeat(2_000) });
    const roomId = room?.roomId ?? "";
    const text = "x".repeat(65_536);
    const { message } = await client.rooms.postMessage({ roomId, text });
    const { position: minPosition } = await client.rooms.editMessage({ messageId: message?.messageId ?? "", text });
    expect((await client.rooms.listMessages({ roomId, minPosition })).messages).toMatchObject([{ text }]);
    expect(await refusal(client.rooms.postMessage({ roomId, text: `${text}x` }))).toMatchObject({
      reason: "INVALID_REQUEST",
    });
  });

  test("what an approval is about", async () => {
    const overhead = toBinary(ValueSchema, tooLargeValue).length - mebibyte;
    const largest = (letter: string) => jsonValue(letter.repeat(mebibyte - overhead));
    const { claimed, approval } = await askByCall(client, { arguments: largest("x") });
    const { approvalId, payloadDigest } = approval;
    const edit = (payload: Value) => client.approvals.editApproval({ approvalId, payloadDigest, payload });
    expect(await refusal(edit(tooLargeValue))).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
    const { approval: edited } = await edit(largest("y"));
    const { position: minPosition } = await client.approvals.decideApproval(decision(edited!));
    const { approvals } = await client.approvals.listApprovals({ runId: approval.runId, minPosition });
    expect(approvals).toMatchObject([{ approvalId, status: ApprovalStatus.APPROVED }]);
    const { leaseToken } = claimed;
    const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mail, arguments: largest("x") });
    expect(toolCall?.arguments).toEqual(largest("y"));
  });

  test("an incident", async () => {
    const request = {
      title: "ä".repeat(300),
      description: "ä".repeat(20_000),
      links: Array.from({ length: 50 }, () => ({ type: "run", id: "x".repeat(60) })),
    };
    const { incident } = await client.incidents.openIncident(request);
    const incidentId = incident?.incidentId ?? "";
    await client.incidents.addIncidentNote({ incidentId, text: "ä".repeat(10_000) });
    const longest = { rootCause: "ä".repeat(10_000), learning: "ä".repeat(10_000) };
    expect((await client.incidents.resolveIncident({ incidentId, ...longest })).incident).toMatchObject(longest);
  });

  test("a policy", async () => {
    const wide = installation.client({ workspaceId: newWorkspaceId() });
    const cedar = "forbid(principal, action, resource);".padEnd(262_143, " \n");
    const actions = Array.from({ length: 1_000 }, (_, n) => ({
      type: `${n}`.padEnd(200, "x"),
      effect: ToolEffect.WRITE,
    }));
    const roles = (members: number) =>
      Array.from({ length: 100 }, (_, n) => ({
        name: `role${n}`,
        members: Array.from({ length: members }, (_member, m) => `user:${"x".repeat(27)}${m}`),
      }));
    const policy = { cedar, actions, roles: roles(100) };
    expect((await wide.policy.putPolicy({ policy })).policy).toMatchObject({ version: 1n, cedar });
    const { leaseToken } = await createAndClaim(wide);
    expect(await refusal(wide.engine.startToolCall({ leaseToken, ...mail }))).toMatchObject({
      reason: "POLICY_DENIED",
    });
    // All of it at its most makes an event that clients of gRPC do not take by default.
    const whole = await refusal(wide.policy.putPolicy({ policy: { ...policy, roles: roles(1_000) } }));
    expect(whole).toMatchObject({ code: Code.ResourceExhausted, reason: "PAYLOAD_TOO_LARGE" });
    expect((await wide.policy.getPolicy({})).policy).toMatchObject({ version: 1n });
  });
});

test("the largest legal request of every other field goes through", async () => {
  const request = create(CreateRunRequestSchema, {
    requestId: "~".repeat(200),
    handler: "h".repeat(100),
    queue: "q".repeat(64),
    roomId: `room_${"r".repeat(40)}`,
    threadId: `th_${"t".repeat(40)}`,
    sessionId: `sess_${"s".repeat(40)}`,
    labels: Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`${"k".repeat(60)}${n}`, "ä".repeat(256)])),
    priority: 9,
    concurrencyKey: "ä".repeat(200),
  });
  const parent = await client.runs.createRun({ handler: "nobody" });
  const { run } = await client.runs.createRun({ ...request, parentRunId: parent.run?.runId ?? "" });
  expect(run).toMatchObject({ handler: request.handler, roomId: request.roomId, labels: request.labels });
  const workspaceId = `ws_${"w".repeat(40)}`;
  const wide = installation.client({ workspaceId });
  await wide.runs.createRun(request);
  const queues = [request.queue];
  const claimed = await wide.engine.claimRun({ handlers: [request.handler], queues, workerId: "w".repeat(200) });
  expect(claimed.run).toMatchObject({ workspaceId, handler: request.handler });
});
