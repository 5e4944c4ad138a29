import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import type { UploadHeaderSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { type Incident, IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { RunEndReason, RunStatus, StepStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { methods, textFields } from "./contract.ts";
import { askByStep } from "./people.ts";
import { refusal } from "./refusal.ts";
import { eventTypes } from "./runs.ts";
import { headPosition } from "./subscribed.ts";
import { openWork } from "./work-streams.ts";

const leaseTtlMs = 1_500;
const installation = await openInstallation({ leaseTtlMs, servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const retryable = { code: "FLAKY", message: "once", retryable: true };

test("a silent worker loses its run to another one, which is told what is on record", async () => {
  const client = newClient();
  const silent = await createAndClaim(client);
  const { step } = await client.engine.startStep({ leaseToken: silent.leaseToken, key: "done" });
  const done = { leaseToken: silent.leaseToken, stepId: step?.stepId ?? "", output: jsonValue({ answer: 42 }) };
  await client.engine.completeStep(done);
  await client.engine.startStep({ leaseToken: silent.leaseToken, key: "open" });

  const next = await claim(client, "by_hand", "second");
  expect(next.run).toMatchObject({
    runId: silent.run.runId,
    attempt: 2,
    failedAttempts: 1,
    workerId: "second",
    error: { code: "LEASE_LOST", retryable: true },
  });
  expect(timestampMs(next.leaseExpireTime!)).toBeGreaterThanOrEqual(timestampMs(silent.leaseExpireTime!) + leaseTtlMs);
  expect(next.recordedStepsComplete).toBe(true);
  expect(next.recordedSteps).toMatchObject([
    { key: "done", status: StepStatus.COMPLETED, outputOmitted: false },
    { key: "open", status: StepStatus.ABANDONED },
  ]);
  expect(valueToJson(next.recordedSteps[0]?.output)).toEqual({ answer: 42 });

  await client.engine.completeRun({ leaseToken: next.leaseToken });
  const { steps } = await client.runs.listSteps({ runId: next.run.runId, minPosition: next.position });
  expect(steps).toMatchObject([{ status: StepStatus.COMPLETED }, { key: "open", status: StepStatus.ABANDONED }]);
});

test("the old worker is refused by every method that takes a lease, and nothing of it is recorded in the run", async () => {
  const client = newClient();
  const other = installation.client({ baseUrl: installation.servers[1]!.url, workspaceId: newWorkspaceId() });
  await openGate(client);
  const { approvalId } = (await askByStep(client)).approval;
  const silent = await createAndClaim(client);
  const { leaseToken } = silent;
  const { step } = await client.engine.startStep({ leaseToken, key: "step" });
  const stepId = step?.stepId ?? "";
  const call = { leaseToken, key: "call", tool: "mail", effect: ToolEffect.EXTERNAL_WRITE };
  const { toolCall } = await client.engine.startToolCall(call);
  const toolCallId = toolCall?.toolCallId ?? "";
  const next = await claim(client, "by_hand", "second");
  const before = await eventTypes(client, silent.run.runId);

  const conditions = [{ condition: { case: "message", value: {} } }] as const;
  const lateCalls: Record<string, () => Promise<unknown>> = {
    heartbeat: () => client.engine.heartbeat({ leaseToken }),
    releaseRun: () => client.engine.releaseRun({ leaseToken }),
    startStep: () => client.engine.startStep({ leaseToken, key: "late" }),
    completeStep: () => client.engine.completeStep({ leaseToken, stepId }),
    failStep: () => client.engine.failStep({ leaseToken, stepId, error: retryable }),
    startToolCall: () => client.engine.startToolCall({ ...call, key: "late" }),
    succeedToolCall: () => client.engine.succeedToolCall({ leaseToken, toolCallId }),
    failToolCall: () => client.engine.failToolCall({ leaseToken, toolCallId, error: retryable }),
    reconcileToolCall: () => client.engine.reconcileToolCall({ leaseToken, toolCallId, note: "I looked" }),
    suspendRun: () => client.engine.suspendRun({ leaseToken, conditions: [...conditions] }),
    publishDeltas: () => client.engine.publishDeltas({ leaseToken, deltas: [{ stepKey: "late", text: "x" }] }),
    completeRun: () => client.engine.completeRun({ leaseToken }),
    failRun: () => client.engine.failRun({ leaseToken, error: retryable }),
    requestApproval: () => client.approvals.requestApproval({ leaseToken, stepId, action: { type: "launch" } }),
    consumeApproval: () => client.approvals.consumeApproval({ leaseToken, approvalId }),
    createArtifact: () => client.artifacts.createArtifact({ spec: { name: "late", leaseToken } }),
    uploadArtifact: () => client.artifacts.uploadArtifact(onlyHeader({ spec: { name: "late", leaseToken } })),
    createUpload: () => client.artifacts.createUpload({ spec: { name: "late", leaseToken, sizeBytes: 1n } }),
  };
  const leased = methods.filter(
    ({ input, methodKind }) =>
      methodKind !== "bidi_streaming" && textFields(input, ({ name }) => name === "lease_token").length > 0,
  );
  expect(Object.keys(lateCalls).toSorted()).toEqual(leased.map(({ localName }) => localName).toSorted());
  for (const [method, late] of Object.entries(lateCalls)) {
    await client.engine.heartbeat({ leaseToken: next.leaseToken });
    expect({ method, ...(await refusal(late())) }).toMatchObject({
      method,
      code: Code.FailedPrecondition,
      reason: "LEASE_LOST",
    });
  }
  await using work = openWork(client, "by_hand");
  for (const request of [
    { case: "heartbeat", value: { leaseToken } },
    { case: "startStep", value: { leaseToken, key: "late" } },
    { case: "completeRun", value: { leaseToken } },
  ] as const) {
    const refused = { case: "error", value: { code: Code.FailedPrecondition, reason: "LEASE_LOST" } };
    expect(await work.call(request)).toMatchObject(refused);
  }
  expect(await eventTypes(client, silent.run.runId)).toEqual(before);
  expect(await client.engine.heartbeat({ leaseToken: next.leaseToken })).toMatchObject({ cancelRequested: false });
  await expect(other.engine.heartbeat({ leaseToken })).rejects.toThrow("lease_token is not a lease token");
  // One for all of these.
  const incident = await until(() => fencedWrite(client), { what: "the incident" });
  expect(incident).toMatchObject({ occurrenceCount: 1 });
  expect(incident.links).toContainEqual(expect.objectContaining({ type: "run", id: silent.run.runId }));
});

async function* onlyHeader(value: MessageInitShape<typeof UploadHeaderSchema>) {
  yield { frame: { case: "header", value } } as const;
}

async function fencedWrite(client: SignalboxClient): Promise<Incident | undefined> {
  const kinds = [IncidentKind.FENCED_WRITE];
  const { incidents } = await client.incidents.listIncidents({ kinds, minPosition: await headPosition(client) });
  expect(incidents.length).toBeLessThan(2);
  return incidents[0];
}

test("what was uploaded in chunks under a lease that was lost meanwhile becomes no artifact", async () => {
  const client = newClient();
  const { run, leaseToken } = await createAndClaim(client);
  const data = Buffer.from("abc");
  const begin = (token: string) =>
    client.artifacts.createUpload({ requestId: "report", spec: { name: "late", leaseToken: token, sizeBytes: 3n } });
  const uploadId = (await begin(leaseToken)).upload?.uploadId ?? "";
  await client.artifacts.uploadChunk({ uploadId, index: 0, data });
  const next = await claim(client, "by_hand", "second");
  expect(await refusal(client.artifacts.finishUpload({ uploadId }))).toMatchObject({ reason: "LEASE_LOST" });
  expect(await refusal(client.artifacts.getArtifact({ artifactId: uploadId }))).toMatchObject({
    reason: "ARTIFACT_NOT_FOUND",
  });
  // The next one goes on with what has come.
  expect((await begin(next.leaseToken)).upload).toMatchObject({ uploadId, receivedChunks: [0] });
  const { artifact } = await client.artifacts.finishUpload({ uploadId });
  expect(artifact).toMatchObject({ artifactId: uploadId, runId: run.runId, sizeBytes: 3n });
  await client.engine.completeRun({ leaseToken: next.leaseToken });
});

test("a lease may be used at every server of the installation", async () => {
  const workspaceId = newWorkspaceId();
  const [here, there] = installation.servers.map(({ url: baseUrl }) => installation.client({ baseUrl, workspaceId }));
  const { run, leaseToken } = await createAndClaim(here!);
  await there!.engine.heartbeat({ leaseToken });
  const { step } = await there!.engine.startStep({ leaseToken, key: "a" });
  await here!.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "" });
  await there!.engine.completeRun({ leaseToken, output: jsonValue("done") });
  expect((await here!.runs.getRun({ runId: run.runId })).run).toMatchObject({ status: RunStatus.SUCCEEDED });
});

test("heartbeats keep a run for as long as they come", async () => {
  const client = newClient();
  const { run, leaseToken, leaseExpireTime } = await createAndClaim(client);
  const thief = client.engine.claimRun({
    handlers: ["by_hand"],
    workerId: "thief",
    maxWait: durationFromMs(2.5 * leaseTtlMs),
  });
  const grantedMs = timestampMs(leaseExpireTime!);
  await until(
    async () => {
      const answer = await client.engine.heartbeat({ leaseToken });
      return timestampMs(answer.leaseExpireTime!) > grantedMs + 2.5 * leaseTtlMs;
    },
    { what: "two and a half lease times", intervalMs: leaseTtlMs / 3 },
  );
  expect((await thief).run).toBeUndefined();
  await client.engine.completeRun({ leaseToken });
  expect(await eventTypes(client, run.runId)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

test("a run whose worker fell silent is queued again when nobody waits for it", async () => {
  const client = newClient();
  const { run } = await createAndClaim(client);
  const { runId } = run;
  const queued = await until(
    async () => {
      const answer = await client.runs.getRun({ runId });
      return answer.run?.status === RunStatus.QUEUED && answer.run;
    },
    { what: "the lease to be called lapsed" },
  );
  expect(queued).toMatchObject({ failedAttempts: 1, workerId: "" });
  expect(await eventTypes(client, runId)).toEqual(["run.created", "run.claimed", "run.lease_expired"]);
  expect((await claim(client, "by_hand")).run).toMatchObject({ runId, attempt: 2 });
});

test("a run that loses its last lease fails with ATTEMPTS_EXHAUSTED", async () => {
  const client = newClient();
  const { run } = await client.runs.createRun({ handler: "by_hand", retryPolicy: { maxAttempts: 1 } });
  const { leaseToken } = await claim(client, "by_hand");
  expect(await client.runs.waitRun({ runId: run?.runId ?? "" })).toMatchObject({
    run: {
      status: RunStatus.FAILED,
      endReason: RunEndReason.ATTEMPTS_EXHAUSTED,
      failedAttempts: 1,
      error: { code: "LEASE_LOST" },
    },
  });
  expect(await refusal(client.engine.completeRun({ leaseToken }))).toMatchObject({ reason: "LEASE_LOST" });
});

test("a completion may be repeated with the same output, and with no other", async () => {
  const client = newClient();
  const { run, leaseToken } = await createAndClaim(client);
  const first = await client.engine.completeRun({ leaseToken, output: jsonValue({ a: 1 }) });
  expect(await client.engine.completeRun({ leaseToken, output: jsonValue({ a: 1 }) })).toEqual(first);
  expect(await refusal(client.engine.completeRun({ leaseToken, output: jsonValue({ a: 2 }) }))).toMatchObject({
    reason: "LEASE_LOST",
  });
  expect(await eventTypes(client, run.runId)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

test("a release may be repeated", async () => {
  const client = newClient();
  const { leaseToken } = await createAndClaim(client);
  const first = await client.engine.releaseRun({ leaseToken, delay: { seconds: 60n } });
  expect(await client.engine.releaseRun({ leaseToken, delay: { seconds: 60n } })).toEqual(first);
});

test("a claim that its caller gave up leaves the run to the next one", async () => {
  const client = newClient();
  for (let round = 0; round < 5; round++) {
    const gone = new AbortController();
    const abandoned = client.engine
      .claimRun({ handlers: ["by_hand"], workerId: "gone" }, { signal: gone.signal })
      .catch((error: unknown) => error);
    gone.abort();
    await abandoned;
    const { run, leaseToken } = await createAndClaim(client);
    expect(run).toMatchObject({ attempt: 1, workerId: "by_hand" });
    await client.engine.completeRun({ leaseToken });
  }
});
