import { afterAll, beforeAll, expect, test } from "vitest";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import { StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { completeStep } from "../../src/runs/step-decider.ts";
import {
  beginStep,
  cancel,
  claim,
  createProcess,
  createQueuedRun,
  newCall,
  openStage,
  type Process,
  type Stage,
} from "./lifecycle-world.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.[Symbol.asyncDispose]());

const bytesOf = (size: number) => new Uint8Array(size).fill(7);
const output = { purpose: ArtifactPurpose.STEP_OUTPUT };

/** A run under a lease, with a step that has started. */
async function openWork(process: Process) {
  const call = newCall();
  const runId = await createQueuedRun(process, call, "room_yard");
  const leaseToken = await claim(process, stage, call, runId);
  const stepId = await beginStep(process, call, leaseToken);
  return { call, runId, leaseToken, stepId };
}

test("what a worker produces belongs to the run, its room and who created it", async () => {
  const process = createProcess(stage);
  const { call, runId, leaseToken, stepId } = await openWork(process);
  const worker = newCall(call.workspaceId, "worker");
  const { artifact } = await process.produce(worker, { leaseToken, stepId }, bytesOf(10));
  expect(artifact).toMatchObject({
    runId,
    stepId,
    roomId: "room_yard",
    createBy: { id: "worker", onBehalfOf: [{ id: "ada" }] },
    runCreateBy: { id: "ada" },
  });
  const { state } = await createProcess(stage).runs.load(call.workspaceId, runId);
  expect(state).toMatchObject({ run: { artifactSummary: { count: 1, totalSizeBytes: 10n } } });
});

test("a worker whose lease was lost adds nothing, before its bytes and after them", async () => {
  const process = createProcess(stage);
  const { call, runId, leaseToken } = await openWork(process);
  const spec = { leaseToken };
  const late = createProcess(stage, {
    blobs: {
      ...stage.blobs,
      async put(name, bytes) {
        await stage.blobs.put(name, bytes);
        stage.pass(2_000);
        await claim(process, stage, call, runId);
      },
    },
  });
  await expect(late.produce(call, spec)).rejects.toMatchObject({ reason: "LEASE_LOST" });
  await expect(late.produce(call, spec)).rejects.toMatchObject({ reason: "LEASE_LOST" });
  const { state } = await process.runs.load(call.workspaceId, runId);
  expect(state).toMatchObject({ artifacts: { fileCount: 0, totalBytes: 0n } });
});

test("the same request under the next lease answers the artifact of the lost one", async () => {
  const process = createProcess(stage);
  const { call, runId, leaseToken } = await openWork(process);
  const first = await process.produce(call, { leaseToken }, bytesOf(10), "report");
  stage.pass(2_000);
  const next = await claim(process, stage, call, runId);
  const again = await createProcess(stage).produce(call, { leaseToken: next }, bytesOf(10), "report");
  expect(again.artifact).toEqual(first.artifact);
  const { state } = await process.runs.load(call.workspaceId, runId);
  expect(state).toMatchObject({ artifacts: { fileCount: 1, totalBytes: 10n } });
});

test("a run that has ended takes no more, but answers what it has", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const runId = await createQueuedRun(process, call);
  const first = await process.produce(call, { runId }, bytesOf(3), "report");
  await cancel(process, call, runId);
  await expect(process.produce(call, { runId })).rejects.toMatchObject({ reason: "INVALID_STATE" });
  expect((await process.produce(call, { runId }, bytesOf(3), "report")).artifact).toEqual(first.artifact);
  await expect(process.produce(newCall(), { runId })).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
});

test("a run has so many files and so many bytes; outputs of steps are no files, but bytes", async () => {
  const process = createProcess(stage, {}, { maxRunArtifacts: 2, maxRunBytes: 100 });
  const { call, leaseToken, stepId } = await openWork(process);
  await process.produce(call, { leaseToken }, bytesOf(10));
  await process.produce(call, { leaseToken, stepId, ...output }, bytesOf(10));
  const quota = (limit: string) => ({ reason: "QUOTA_EXCEEDED", metadata: { limit } });
  await expect(process.produce(call, { leaseToken, sizeBytes: 81n }, bytesOf(81))).rejects.toMatchObject(quota("100"));
  await expect(process.produce(call, { leaseToken }, bytesOf(81))).rejects.toMatchObject(quota("100"));
  await process.produce(call, { leaseToken }, bytesOf(10));
  await expect(process.produce(call, { leaseToken }, bytesOf(1))).rejects.toMatchObject(quota("2"));
  await process.produce(call, { leaseToken, stepId, ...output }, bytesOf(70));
});

test("of many that a run has room for one by one, exactly as many are taken as it has room for", async () => {
  const process = createProcess(stage, {}, { maxRunArtifacts: 3 });
  const call = newCall();
  const runId = await createQueuedRun(process, call);
  const other = createProcess(stage, {}, { maxRunArtifacts: 3 });
  const all = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? process : other).produce(call, { runId }, bytesOf(i + 1))),
  );
  expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
});

test("a spec that says what does not fit together is refused", async () => {
  const process = createProcess(stage);
  const { call, leaseToken, stepId } = await openWork(process);
  const { runId: otherRun } = await openWork(process);
  const refusals = await Promise.all(
    [
      { runId: otherRun, leaseToken },
      { stepId },
      { leaseToken, ...output },
      { leaseToken, roomId: "room_other" },
      { leaseToken, stepId: "step_01K9ZZZZZZZZZZZZZZZZZZZZZZ" },
    ].map((spec) =>
      process.produce(call, spec).then(
        () => "fine",
        (error: unknown) => (error instanceof SignalboxError ? error.reason : error),
      ),
    ),
  );
  expect(refusals).toEqual([
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "STEP_NOT_FOUND",
  ]);
});

test("a step completes with an artifact of its run that is an output, and with no other", async () => {
  const process = createProcess(stage);
  const { call, runId, leaseToken, stepId } = await openWork(process);
  const lease = process.tokens.open(leaseToken, call.workspaceId);
  const complete = (outputArtifactId: string) =>
    process.runs.execute({
      call,
      id: runId,
      decide: (state) => completeStep(state, lease, { stepId, output: undefined, outputArtifactId, usage: undefined }),
    });
  const file = (await process.produce(call, { leaseToken })).artifact.artifactId;
  await expect(complete(file)).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
  const foreign = (await process.produce(call, {})).artifact.artifactId;
  await expect(complete(foreign)).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
  const { artifactId } = (await process.produce(call, { leaseToken, stepId, ...output })).artifact;
  const { state, position } = await complete(artifactId);
  if (state.status === "absent") throw new Error("the run is gone");
  expect(state.steps.get(stepId)?.step).toMatchObject({
    status: StepStatus.COMPLETED,
    outputArtifactId: artifactId,
    output: undefined,
  });
  expect((await complete(artifactId)).position).toBe(position);
  await expect(complete("")).rejects.toMatchObject({ reason: "INVALID_STATE" });
});
