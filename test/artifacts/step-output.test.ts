import { afterAll, beforeAll, expect, test } from "vitest";
import { IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import { StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { openNatsBlobs } from "../../src/blobs/nats.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation();
});
afterAll(() => installation[Symbol.asyncDispose]());

const data = Buffer.from(JSON.stringify({ rows: ["a", "b"] }));

/** The lease on a run, and its step `fetch` when it has started. */
async function claimAndStart({ engine }: SignalboxClient) {
  const { leaseToken } = await engine.claimRun({ handlers: ["fetch"], workerId: "worker-1" });
  const { step } = await engine.startStep({ leaseToken, key: "fetch" });
  if (step === undefined) throw new Error("StartStep answered without a step");
  return { leaseToken, step };
}

/** A run whose step has its output in an artifact, and that was canceled behind it. */
async function runWithOutput(client: SignalboxClient) {
  const { run } = await client.runs.createRun({ handler: "fetch" });
  const { leaseToken, step } = await claimAndStart(client);
  const { stepId } = step;
  const purpose = ArtifactPurpose.STEP_OUTPUT;
  const { artifact } = await client.artifacts.createArtifact({
    spec: { name: "fetch.json", leaseToken, stepId, purpose },
    data,
  });
  const outputArtifactId = artifact?.artifactId ?? "";
  const { step: completed } = await client.engine.completeStep({ leaseToken, stepId, outputArtifactId });
  expect(completed).toMatchObject({ status: StepStatus.COMPLETED, outputArtifactId });
  const runId = run?.runId ?? "";
  const { position } = await client.runs.cancelRun({ runId });
  return { runId, stepId, outputArtifactId, position };
}

async function read(client: SignalboxClient, artifactId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { frame } of client.artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  return Buffer.concat(pieces);
}

test("a step whose output is an artifact shows it, and a retry reuses it", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { runId, outputArtifactId, position: minPosition } = await runWithOutput(client);
  const { steps } = await client.runs.listSteps({ runId, minPosition });
  expect(steps).toMatchObject([{ outputArtifactId }]);
  const { run } = await client.runs.getRun({ runId });
  expect(run?.artifactSummary).toBeUndefined();
  await client.runs.retryRun({ runId });
  const { step } = await claimAndStart(client);
  expect(step).toMatchObject({ status: StepStatus.COMPLETED, outputArtifactId, reusedFromRunId: runId });
  expect(await read(client, outputArtifactId)).toEqual(data);
});

test("a step whose output is gone is done again by a retry", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { runId, outputArtifactId } = await runWithOutput(client);
  await client.artifacts.deleteArtifact({ artifactId: outputArtifactId, permanent: true });
  await client.runs.retryRun({ runId });
  const { step } = await claimAndStart(client);
  expect(step).toMatchObject({ status: StepStatus.RUNNING, outputArtifactId: "", reusedFromRunId: "" });
});

test("bytes that are missing are refused, and people hear of it", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { outputArtifactId } = await runWithOutput(client);
  const { nats, prefix, logger: log } = installation.backend;
  await using blobs = await openNatsBlobs({ nats, stream: `BLOBS_${prefix}`, prefix, replicas: 1, log });
  for await (const { name } of blobs.list()) if (name.includes(outputArtifactId)) await blobs.remove(name);
  await expect(read(client, outputArtifactId).catch(reasonOf)).resolves.toBe("ARTIFACT_CORRUPT");
  const incident = await until(async () => (await client.incidents.listIncidents({})).incidents[0], {
    what: "the incident",
  });
  expect(incident).toMatchObject({
    kind: IncidentKind.HASH_MISMATCH,
    title: `The bytes of ${outputArtifactId} are damaged`,
  });
  expect(incident.links.map(({ type, id }) => ({ type, id }))).toContainEqual({
    type: "artifact",
    id: outputArtifactId,
  });
});
