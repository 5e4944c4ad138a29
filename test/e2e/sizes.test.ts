import { create, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { openInstallation } from "../support/installation.ts";
import { claim, createAndClaim } from "./claims.ts";
import { type ErrorBody, infoOf, postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const client = installation.client();

const mebibyte = 1024 * 1024;

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
