import { randomBytes } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArtifactStatus } from "../../gen/signalbox/v1/artifact_pb.ts";
import { defaultArtifactLimits } from "../../src/artifacts/limits.ts";
import { openNatsBlobs } from "../../src/blobs/nats.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { artifactOptions } from "../support/artifact-options.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation({
    servers: 2,
    artifacts: {
      ...artifactOptions(randomBytes(32)),
      limits: { ...defaultArtifactLimits, graceMs: 2_000 },
      sweepIntervals: { dueMs: 20, orphansMs: 200 },
    },
  });
});
afterAll(() => installation[Symbol.asyncDispose]());

const data = randomBytes(100_000);

async function store(client: SignalboxClient, spec: object = {}) {
  const { artifact } = await client.artifacts.createArtifact({ spec: { name: "report.txt", ...spec }, data });
  if (artifact === undefined) throw new Error("CreateArtifact answered without an artifact");
  return artifact;
}

async function read(client: SignalboxClient, artifactId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { frame } of client.artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  return Buffer.concat(pieces);
}

/** The blobs that are left of an artifact. */
async function blobsOf(artifactId: string): Promise<string[]> {
  const { nats, prefix, logger: log } = installation.backend;
  await using blobs = await openNatsBlobs({ nats, stream: `BLOBS_${prefix}`, prefix, replicas: 1, log });
  const names = await Array.fromAsync(blobs.list(), ({ name }) => name);
  return names.filter((name) => name.includes(artifactId));
}

const statusOf = async (client: SignalboxClient, artifactId: string) =>
  (await client.artifacts.getArtifact({ artifactId })).artifact?.status;

test("every server gives the bytes that one of them took, also after they were restarted", async () => {
  const workspaceId = newWorkspaceId();
  const { artifactId } = await store(installation.client({ workspaceId }));
  for (const server of installation.servers) {
    expect(await read(installation.client({ baseUrl: server.url, workspaceId }), artifactId)).toEqual(data);
    await server.stop();
    await server.start();
    expect(await read(installation.client({ baseUrl: server.url, workspaceId }), artifactId)).toEqual(data);
  }
});

test("an artifact whose time is over is refused at once, recorded as expired, and purged with all its bytes", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const kept = await store(client);
  const { artifactId } = await store(client, { retention: durationFromMs(1_000) });
  expect(await read(client, artifactId)).toEqual(data);
  await until(async () => (await statusOf(client, artifactId)) === ArtifactStatus.PURGED, { what: "the purge" });
  await until(async () => (await blobsOf(artifactId)).length === 0, { what: "its bytes to go" });
  await expect(read(client, artifactId).catch(reasonOf)).resolves.toBe("ARTIFACT_EXPIRED");
  const minPosition = (await client.artifacts.getArtifact({ artifactId })).artifact?.position ?? 0n;
  const filter = { stream: { type: "artifact", id: artifactId } };
  const { events } = await client.events.listEvents({ filter, minPosition });
  expect(events.map(({ type }) => type)).toEqual(["artifact.created", "artifact.expired", "artifact.purged"]);
  expect(await read(client, kept.artifactId)).toEqual(data);
});

test("what a server did not get to destroy goes without it", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { artifactId } = await store(client);
  const { artifact } = await client.artifacts.deleteArtifact({ artifactId, permanent: true });
  expect(artifact?.status).toBe(ArtifactStatus.PURGED);
  expect(await blobsOf(artifactId)).toEqual([]);
  const { nats, prefix, logger: log } = installation.backend;
  await using blobs = await openNatsBlobs({ nats, stream: `BLOBS_${prefix}`, prefix, replicas: 1, log });
  await blobs.put(`${artifact?.workspaceId}/${artifactId}/left`, once(data));
  await until(async () => (await blobsOf(artifactId)).length === 0, { what: "the orphan to go" });
});

test("a deleted artifact is gone for its readers and its owner can have it back", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { artifactId } = await store(client);
  await client.artifacts.setLegalHold({ artifactId, held: true, reason: "case 12" });
  await expect(client.artifacts.deleteArtifact({ artifactId }).catch(reasonOf)).resolves.toBe("INVALID_STATE");
  await client.artifacts.setLegalHold({ artifactId, held: false, reason: "closed" });
  await client.artifacts.deleteArtifact({ artifactId });
  await client.artifacts.setLegalHold({ artifactId, held: true, reason: "case 13" });
  await expect(read(client, artifactId).catch(reasonOf)).resolves.toBe("ARTIFACT_EXPIRED");
  const { artifact, position } = await client.artifacts.restoreArtifact({ artifactId });
  expect(artifact?.status).toBe(ArtifactStatus.AVAILABLE);
  expect(await read(client, artifactId)).toEqual(data);
  expect(await client.artifacts.getStorageUsage({ minPosition: position })).toMatchObject({
    usage: { artifactCount: 1n, sizeBytes: 100_000n, heldCount: 1n },
  });
});

async function* once(bytes: Uint8Array) {
  yield bytes;
}
