import { expect } from "vitest";
import { AccessOutcome, ArtifactStatus } from "../../gen/signalbox/v1/artifact_pb.ts";
import { SuiteStatus } from "../../gen/signalbox/v1/eval_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { accessesTo, downloaded, followed, sha256, someBytes, stored } from "./files.ts";
import { strangerKey } from "./furnished-files.ts";
import { reasonFor } from "./refusal.ts";

// Everything about files and evaluations, method by method, for those who check that it can be done over every protocol.

const text = "grüße 🚂";
const mebibyte = 1024 * 1024;

/** Calls every method of ArtifactService. */
export async function keepFiles(client: SignalboxClient): Promise<void> {
  await upload(client);
  const { artifactId } = await stored(client, Buffer.from(text), { name: text, labels: { n: "1" } });
  await share(client, artifactId);
  await endFile(client, artifactId);
  await bundle(client);
}

async function upload(client: SignalboxClient): Promise<void> {
  const { artifacts } = client;
  const bytes = someBytes(mebibyte + 3);
  async function* frames() {
    yield { frame: { case: "header", value: { spec: { name: text, sha256: sha256(bytes) } } } } as const;
    yield { frame: { case: "data", value: bytes.subarray(0, mebibyte) } } as const;
    yield { frame: { case: "data", value: bytes.subarray(mebibyte) } } as const;
  }
  const streamed = await artifacts.uploadArtifact(frames());
  expect(streamed.artifact).toMatchObject({ name: text, sizeBytes: BigInt(bytes.length), sha256: sha256(bytes) });
  expect((await downloaded(client, streamed.artifact?.artifactId ?? "")).equals(bytes)).toBe(true);
  const begun = await artifacts.createUpload({ spec: { name: text, sizeBytes: BigInt(bytes.length) } });
  const { uploadId = "", chunkCount, chunkSizeBytes } = begun.upload ?? {};
  expect({ chunkCount, chunkSizeBytes }).toEqual({ chunkCount: 2, chunkSizeBytes: mebibyte });
  await artifacts.uploadChunk({ uploadId, index: 1, data: bytes.subarray(mebibyte) });
  expect((await artifacts.getUpload({ uploadId })).upload).toMatchObject({ receivedChunks: [1] });
  expect(await reasonFor(artifacts.finishUpload({ uploadId }))).toBe("INVALID_STATE");
  await artifacts.uploadChunk({ uploadId, index: 0, data: bytes.subarray(0, mebibyte) });
  const { artifact, position: minPosition } = await artifacts.finishUpload({ uploadId, sha256: sha256(bytes) });
  expect((await artifacts.getArtifact({ artifactId: uploadId })).artifact).toEqual(artifact);
  expect((await artifacts.listArtifacts({ name: text, minPosition })).artifacts).toEqual([artifact, streamed.artifact]);
  expect((await downloaded(client, uploadId, BigInt(mebibyte))).equals(bytes.subarray(mebibyte))).toBe(true);
  const { usage, limits } = await artifacts.getStorageUsage({ minPosition });
  expect(usage).toMatchObject({ artifactCount: 2n, sizeBytes: 2n * BigInt(bytes.length), heldCount: 0n });
  expect(limits).toMatchObject({ maxRunArtifacts: 50 });
}

async function share(client: SignalboxClient, artifactId: string): Promise<void> {
  const { artifacts } = client;
  const bob = client.onBehalfOf("user:bob");
  const toBob = { who: { case: "principal", value: "user:bob" } } as const;
  const { grant } = await artifacts.grantAccess({ artifactId, grantee: toBob });
  expect((await downloaded(bob, artifactId)).toString()).toBe(text);
  const { url, link } = await artifacts.createDownloadUrl({ artifactId });
  expect(await (await fetch(await followed(url))).text()).toBe(text);
  await artifacts.revokeAccess({ artifactId, grantId: grant?.grantId ?? "" });
  await artifacts.revokeDownloadUrl({ artifactId, linkId: link?.linkId ?? "" });
  expect(await artifacts.listGrants({ artifactId })).toMatchObject({
    grants: [{ grantee: toBob, revokeTime: expect.anything() as unknown }],
    links: [{ linkId: link?.linkId, revokeTime: expect.anything() as unknown }],
  });
  expect(await reasonFor(downloaded(bob, artifactId))).toBe("PERMISSION_DENIED");
  const grantee = { who: { case: "ed25519PublicKey", value: strangerKey } } as const;
  const { challenge } = await artifacts.createAccessChallenge({ artifactId, grantee });
  expect(challenge).toContain(artifactId);
  const answer = artifacts.answerAccessChallenge({ challenge, signature: "00".repeat(64) });
  expect(await reasonFor(answer)).toBe("PERMISSION_DENIED");
  const { GRANTED, REFUSED } = AccessOutcome;
  const outcomes = (await accessesTo(client, artifactId)).map(({ outcome }) => outcome);
  expect(outcomes).toEqual([REFUSED, REFUSED, GRANTED, GRANTED, GRANTED]);
}

async function endFile(client: SignalboxClient, artifactId: string): Promise<void> {
  const { artifacts } = client;
  const held = await artifacts.setLegalHold({ artifactId, held: true, reason: text });
  expect(held.artifact?.hold).toMatchObject({ reason: text });
  expect(await reasonFor(artifacts.deleteArtifact({ artifactId }))).toBe("INVALID_STATE");
  await artifacts.setLegalHold({ artifactId, held: false, reason: text });
  const deleted = await artifacts.deleteArtifact({ artifactId, reason: text });
  expect(deleted.artifact).toMatchObject({ status: ArtifactStatus.DELETED, labels: { n: "1" } });
  expect(await reasonFor(downloaded(client, artifactId))).toBe("ARTIFACT_EXPIRED");
  const restored = await artifacts.restoreArtifact({ artifactId, reason: text });
  expect(restored.artifact).toMatchObject({ status: ArtifactStatus.AVAILABLE });
  expect((await downloaded(client, artifactId)).toString()).toBe(text);
}

async function bundle(client: SignalboxClient): Promise<void> {
  const { run } = await client.runs.createRun({ handler: "nobody" });
  const runId = run?.runId ?? "";
  await stored(client, Buffer.from(text), { runId });
  await client.runs.cancelRun({ runId });
  const pieces = await Array.fromAsync(client.artifacts.downloadBundle({ runId }), ({ data }) => data);
  expect(Buffer.concat(pieces).toString("latin1", 0, 2)).toBe("PK");
}

/** Calls every method of EvalService. */
export async function keepSuite(client: SignalboxClient): Promise<void> {
  const { evals } = client;
  const cases = [{ key: "a", input: jsonValue(text), expected: jsonValue(text), weight: 0.5 }];
  const { suite, position: minPosition } = await evals.putSuite({ suite: { name: text, cases } });
  const suiteId = suite?.suiteId ?? "";
  expect((await evals.getSuite({ name: text })).suite).toEqual(suite);
  expect((await evals.listSuites({ minPosition })).suites).toEqual([suite]);
  expect((await evals.listSuiteVersions({ suiteId, minPosition })).suites).toEqual([suite]);
  const target = { target: { case: "handler", value: "nobody" } } as const;
  const { evaluation, position } = await evals.evaluate({ suiteId, target, queue: "nobody", repeats: 3 });
  const evaluationId = evaluation?.evaluationId ?? "";
  expect(evaluation).toMatchObject({ status: RunStatus.QUEUED, spec: { suiteName: text, repeats: 3 } });
  expect((await evals.getEvaluation({ evaluationId })).evaluation).toEqual(evaluation);
  expect((await evals.listEvaluations({ suiteId, minPosition: position })).evaluations).toEqual([evaluation]);
  expect((await evals.archiveSuite({ suiteId })).suite).toMatchObject({ status: SuiteStatus.ARCHIVED });
}
