import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ArtifactEncryptionSchema,
  ArtifactPurpose,
  ArtifactSpecSchema,
  ArtifactStatus,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  DeleteArtifactRequestSchema,
  GetStorageUsageRequestSchema,
  ListArtifactsRequestSchema,
  RestoreArtifactRequestSchema,
  SetLegalHoldRequestSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import {
  beginStep,
  cancel,
  claim,
  createProcess,
  createQueuedRun,
  never,
  newCall,
  openStage,
  remains,
  requireWhole,
  type Stage,
} from "./lifecycle-world.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.[Symbol.asyncDispose]());

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
const bytesOf = (size: number) => new Uint8Array(size).fill(7);

const deletion = (artifactId: string, fields: { permanent?: boolean } = {}) =>
  create(DeleteArtifactRequestSchema, { artifactId, reason: "wrong", ...fields });
const restoring = (artifactId: string, retentionMs?: number) =>
  create(RestoreArtifactRequestSchema, {
    artifactId,
    reason: "right after all",
    ...(retentionMs === undefined ? {} : { retention: durationFromMs(retentionMs) }),
  });
const holding = (artifactId: string, held: boolean) =>
  create(SetLegalHoldRequestSchema, { artifactId, held, reason: "case 12" });

async function sweepAll(process: ReturnType<typeof createProcess>) {
  await stage.settled();
  await process.sweeps.heal(never);
  await process.sweeps.expire(never);
  await stage.settled();
  await process.sweeps.purge(never);
  await stage.settled();
}

test("an artifact says what was stored, under a cleaned name, for 7 days unless told otherwise", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifact, position } = await process.produce(call, { name: "../../etc/passwd", labels: { team: "signals" } });
  expect(artifact).toMatchObject({
    name: "_.._.._etc_passwd",
    contentType: "application/octet-stream",
    sizeBytes: 5n,
    status: ArtifactStatus.AVAILABLE,
    purpose: ArtifactPurpose.FILE,
    labels: { team: "signals" },
    createBy: { id: "ada" },
    position,
  });
  const timeOf = (time = artifact.createTime) => (time === undefined ? 0 : timestampDate(time).getTime());
  expect(timeOf(artifact.expireTime) - timeOf()).toBe(7 * dayMs);
  const short = await process.produce(call, { retention: durationFromMs(hourMs) });
  expect(timeOf(short.artifact.expireTime) - timeOf(short.artifact.createTime)).toBe(hourMs);
  await expect(process.produce(call, { retention: durationFromMs(8 * dayMs) })).rejects.toMatchObject({
    reason: "INVALID_REQUEST",
  });
});

test("the same request answers the same artifact, and other bytes or another spec are refused", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const first = await process.produce(call, {}, bytesOf(10), "report-1");
  const again = await createProcess(stage).produce(call, {}, bytesOf(10), "report-1");
  expect(again.artifact).toEqual(first.artifact);
  const reused = { reason: "REQUEST_ID_REUSED" };
  await expect(process.produce(call, {}, bytesOf(11), "report-1")).rejects.toMatchObject(reused);
  await expect(process.produce(call, { name: "other" }, bytesOf(10), "report-1")).rejects.toMatchObject(reused);
  const other = await process.produce(newCall(), { name: "other" }, bytesOf(10), "report-1");
  expect(other.artifact.artifactId).not.toBe(first.artifact.artifactId);
});

test("a deleted artifact can be restored for a day, and then its key and its bytes are gone", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await process.produce(call, {})).artifact;
  const deleted = await process.artifacts.delete(call, deletion(artifactId));
  expect(deleted.artifact).toMatchObject({ status: ArtifactStatus.DELETED, endBy: { id: "ada" } });
  expect(await process.artifacts.delete(call, deletion(artifactId))).toEqual(deleted);
  stage.pass(dayMs - 1);
  await sweepAll(process);
  const { artifact } = await process.artifacts.restore(call, restoring(artifactId, hourMs));
  expect(artifact).toMatchObject({ status: ArtifactStatus.AVAILABLE, endTime: undefined, purgeTime: undefined });
  await requireWhole(stage, await process.known(call, artifactId));
  await process.artifacts.delete(call, deletion(artifactId));
  stage.pass(dayMs);
  await expect(process.artifacts.restore(call, restoring(artifactId))).rejects.toMatchObject({
    reason: "ARTIFACT_EXPIRED",
  });
  await sweepAll(process);
  expect(await remains(stage, artifactId)).toEqual({ key: false, blobs: false });
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({
    status: ArtifactStatus.PURGED,
    name: "report.txt",
  });
});

test("an artifact expires when its time is over, and is purged a day later", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await process.produce(call, { retention: durationFromMs(hourMs) })).artifact;
  stage.pass(hourMs - 1);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.AVAILABLE });
  stage.pass(1);
  await sweepAll(process);
  const expired = await process.artifacts.get(call, artifactId);
  expect(expired).toMatchObject({ status: ArtifactStatus.EXPIRED, endBy: undefined });
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toEqual(expired);
  stage.pass(dayMs);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.PURGED });
  expect(await remains(stage, artifactId)).toEqual({ key: false, blobs: false });
});

test("what is deleted for ever is gone at once", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await process.produce(call, {})).artifact;
  const { artifact } = await process.artifacts.delete(call, deletion(artifactId, { permanent: true }));
  expect(artifact).toMatchObject({ status: ArtifactStatus.PURGED, endBy: { id: "ada" } });
  expect(await remains(stage, artifactId)).toEqual({ key: false, blobs: false });
  await expect(process.artifacts.restore(call, restoring(artifactId))).rejects.toMatchObject({
    reason: "ARTIFACT_EXPIRED",
  });
  await expect(process.artifacts.setLegalHold(call, holding(artifactId, true))).rejects.toMatchObject({
    reason: "ARTIFACT_EXPIRED",
  });
});

test("a legal hold keeps an artifact from everything that would take it away", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await process.produce(call, { retention: durationFromMs(hourMs) })).artifact;
  const { artifact } = await process.artifacts.setLegalHold(
    newCall(call.workspaceId, "bob"),
    holding(artifactId, true),
  );
  expect(artifact.hold).toMatchObject({ reason: "case 12", holdBy: { id: "bob" } });
  for (const permanent of [false, true]) {
    await expect(process.artifacts.delete(call, deletion(artifactId, { permanent }))).rejects.toMatchObject({
      reason: "INVALID_STATE",
    });
  }
  stage.pass(9 * dayMs);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.AVAILABLE });
  await process.artifacts.setLegalHold(call, holding(artifactId, false));
  await sweepAll(process);
  const expired = await process.artifacts.get(call, artifactId);
  expect(expired).toMatchObject({ status: ArtifactStatus.EXPIRED, hold: undefined });
  await process.artifacts.setLegalHold(call, holding(artifactId, true));
  stage.pass(2 * dayMs);
  await sweepAll(process);
  await requireWhole(stage, await process.known(call, artifactId));
  expect(await process.artifacts.restore(call, restoring(artifactId))).toMatchObject({
    artifact: { status: ArtifactStatus.AVAILABLE },
  });
});

test("only its owner deletes and restores it, and nobody of another workspace knows of it", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await process.produce(call, {})).artifact;
  const bob = newCall(call.workspaceId, "bob");
  await expect(process.artifacts.delete(bob, deletion(artifactId))).rejects.toMatchObject({
    reason: "PERMISSION_DENIED",
  });
  await expect(process.artifacts.restore(bob, restoring(artifactId))).rejects.toMatchObject({
    reason: "PERMISSION_DENIED",
  });
  expect(await process.artifacts.get(bob, artifactId)).toMatchObject({ artifactId });
  await expect(process.artifacts.get(newCall(), artifactId)).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
});

test("the output of a step stays as long as its run is open", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const runId = await createQueuedRun(process, call);
  const leaseToken = await claim(process, stage, call, runId);
  const stepId = await beginStep(process, call, leaseToken);
  const purpose = ArtifactPurpose.STEP_OUTPUT;
  const { artifactId } = (await process.produce(call, { leaseToken, stepId, purpose })).artifact;
  stage.pass(30 * dayMs);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.AVAILABLE });
  await cancel(process, call, runId);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.EXPIRED });
});

test("the output of a step stays as long as a fork is open that has reused it, and nobody deletes it before", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const [runId, forkId] = [await createQueuedRun(process, call), await createQueuedRun(process, call)];
  const leaseToken = await claim(process, stage, call, runId);
  const stepId = await beginStep(process, call, leaseToken);
  const purpose = ArtifactPurpose.STEP_OUTPUT;
  const { artifactId } = (await process.produce(call, { leaseToken, stepId, purpose })).artifact;
  const inUse = (byRunId: string) => ({ reason: "INVALID_STATE", metadata: { run_id: byRunId } });
  await expect(process.artifacts.delete(call, deletion(artifactId))).rejects.toMatchObject(inUse(runId));
  await beginStep(process, call, await claim(process, stage, call, forkId), artifactId);
  await cancel(process, call, runId);
  stage.pass(30 * dayMs);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.AVAILABLE });
  for (const permanent of [false, true]) {
    const deleted = process.artifacts.delete(call, deletion(artifactId, { permanent }));
    await expect(deleted).rejects.toMatchObject(inUse(forkId));
  }
  await cancel(process, call, forkId);
  await sweepAll(process);
  expect(await process.artifacts.get(call, artifactId)).toMatchObject({ status: ArtifactStatus.EXPIRED });
  expect((await process.artifacts.delete(call, deletion(artifactId, { permanent: true }))).artifact).toMatchObject({
    status: ArtifactStatus.PURGED,
  });
});

test("lists keep what was asked for, newest first, and leave outputs of steps out unless asked", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const runId = await createQueuedRun(process, call, "room_yard");
  const leaseToken = await claim(process, stage, call, runId);
  const stepId = await beginStep(process, call, leaseToken);
  const ofRun = (await process.produce(call, { leaseToken, name: "a" })).artifact;
  const output = (await process.produce(call, { leaseToken, stepId, purpose: ArtifactPurpose.STEP_OUTPUT })).artifact;
  const alone = (await process.produce(call, { name: "b" })).artifact;
  const { position: minPosition } = await process.artifacts.delete(call, deletion(alone.artifactId));
  const list = async (fields: object) => {
    const request = create(ListArtifactsRequestSchema, { minPosition, ...fields });
    return (await process.artifacts.list(call, request)).artifacts.map(({ artifactId }) => artifactId);
  };
  expect(ofRun).toMatchObject({ runId, roomId: "room_yard", runCreateBy: { id: "ada" } });
  expect(await list({})).toEqual([alone.artifactId, ofRun.artifactId]);
  expect(await list({ runId })).toEqual([ofRun.artifactId]);
  expect(await list({ roomId: "room_yard", name: "a" })).toEqual([ofRun.artifactId]);
  expect(await list({ statuses: [ArtifactStatus.DELETED] })).toEqual([alone.artifactId]);
  expect(await list({ purposes: [ArtifactPurpose.STEP_OUTPUT] })).toEqual([output.artifactId]);
  const page = await process.artifacts.list(call, create(ListArtifactsRequestSchema, { minPosition, pageSize: 1 }));
  expect(await list({ pageSize: 1, pageToken: page.nextPageToken })).toEqual([ofRun.artifactId]);
});

test("a workspace keeps no more than it may, deleted artifacts included until they are purged", async () => {
  const process = createProcess(stage, {}, { maxWorkspaceBytes: 100 });
  const call = newCall();
  const first = await process.produce(call, {}, bytesOf(60));
  const full = { reason: "QUOTA_EXCEEDED", metadata: { limit: "100" } };
  await expect(process.produce(call, { sizeBytes: 41n }, bytesOf(41))).rejects.toMatchObject(full);
  await expect(process.produce(call, {}, bytesOf(41))).rejects.toMatchObject(full);
  await process.artifacts.delete(call, deletion(first.artifact.artifactId));
  await expect(process.produce(call, {}, bytesOf(41))).rejects.toMatchObject(full);
  const both = await Promise.allSettled([
    process.produce(call, {}, bytesOf(40)),
    process.produce(call, {}, bytesOf(40)),
  ]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  await stage.settled();
  const usage = () => process.artifacts.usage(call, create(GetStorageUsageRequestSchema));
  expect(await usage()).toMatchObject({
    usage: { artifactCount: 2n, sizeBytes: 100n, heldCount: 0n },
    limits: { maxWorkspaceBytes: 100n, maxRunArtifacts: 50 },
  });
  await process.artifacts.delete(call, deletion(first.artifact.artifactId, { permanent: true }));
  await stage.settled();
  expect(await usage()).toMatchObject({ usage: { artifactCount: 1n, sizeBytes: 40n } });
  await process.produce(call, {}, bytesOf(60));
});

test("a request_id counts within its run: two runs that use the same one have an artifact each", async () => {
  const process = createProcess(stage);
  const call = newCall();
  const stored = { parts: [], sizeBytes: 0, sha256: "e".repeat(64), encryption: create(ArtifactEncryptionSchema) };
  const admit = async () => {
    const spec = create(ArtifactSpecSchema, { name: "a", runId: await createQueuedRun(process, call) });
    return process.admission.admit(call, spec, "once");
  };
  const [first, second] = [await admit(), await admit()];
  const recorded = [first, second].map((admitted) => process.admission.record(call, admitted, stored));
  const [one, other] = (await Promise.all(recorded)).map(({ artifact }) => artifact);
  expect([one?.runId, other?.runId]).toEqual([first.runId, second.runId]);
  expect(one?.artifactId).not.toBe(other?.artifactId);
});

test("an artifact that is announced larger than it may be is refused before its first byte", async () => {
  const process = createProcess(stage, {}, { maxArtifactBytes: 50 });
  const refused = { reason: "PAYLOAD_TOO_LARGE", metadata: { limit: "50", size: "51" } };
  await expect(process.produce(newCall(), { sizeBytes: 51n }, bytesOf(51))).rejects.toMatchObject(refused);
});
