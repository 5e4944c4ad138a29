import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createSignalboxClient, reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { answers200 } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { type ArtifactInstallation, openArtifactInstallation } from "./support/artifact-installation.ts";

const leaseTtlMs = 1_500;
let installation: ArtifactInstallation;
beforeAll(async () => {
  installation = await openArtifactInstallation(leaseTtlMs);
}, 60_000);
afterAll(() => installation?.[Symbol.asyncDispose]());

const file = randomBytes(2_500_000);

/** Uploads the file in two halves; what is to happen between them is waited for. */
async function upload({ artifacts }: SignalboxClient, meanwhile = async () => {}, leaseToken = "") {
  async function* frames() {
    const spec = { name: "report.bin", leaseToken };
    yield { frame: { case: "header" as const, value: { requestId: "report", spec } } };
    yield { frame: { case: "data" as const, value: file.subarray(0, 1_000_000) } };
    await meanwhile();
    yield { frame: { case: "data" as const, value: file.subarray(1_000_000, 1_600_000) } };
    yield { frame: { case: "data" as const, value: file.subarray(1_600_000) } };
  }
  return (await artifacts.uploadArtifact(frames())).artifact?.artifactId ?? "";
}

async function download({ artifacts }: SignalboxClient, artifactId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { frame } of artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  return Buffer.concat(pieces);
}

const ready = () =>
  until(() => answers200(`${installation.url}/readyz`), { what: "the server to be ready", timeoutMs: 30_000 });

test(
  "NATS dies in the middle of an upload: it is refused, nothing is on record, and again it works",
  { timeout: 90_000 },
  async () => {
    const { nats } = installation.processes;
    const workspaceId = newWorkspaceId();
    using client = createSignalboxClient({ baseUrl: installation.url, workspaceId });
    const before = await upload(client);
    using other = createSignalboxClient({ baseUrl: installation.url, workspaceId: newWorkspaceId() });
    const refused = await upload(other, () => nats.kill()).catch(reasonOf);
    expect(refused).toBe("STORE_UNAVAILABLE");
    await nats.start();
    await ready();
    expect(await installation.wrong()).toBe("");
    const artifactId = await upload(other);
    expect(await upload(other)).toBe(artifactId);
    expect((await download(other, artifactId)).equals(file)).toBe(true);
    expect((await download(client, before)).equals(file)).toBe(true);
    expect(await installation.wrong()).toBe("");
  },
);

test("Postgres dies: what is stored is read, what is uploaded waits for it", { timeout: 90_000 }, async () => {
  const { postgres } = installation.processes;
  using client = createSignalboxClient({ baseUrl: installation.url, workspaceId: newWorkspaceId() });
  const before = await upload(client);
  using other = createSignalboxClient({ baseUrl: installation.url, workspaceId: newWorkspaceId() });
  expect(await upload(other, () => postgres.kill()).catch(reasonOf)).toBe("STORE_UNAVAILABLE");
  expect(await upload(other).catch(reasonOf)).toBe("STORE_UNAVAILABLE");
  expect((await download(client, before)).equals(file)).toBe(true);
  for (const command of [client.artifacts.deleteArtifact, client.artifacts.restoreArtifact]) {
    expect((await command({ artifactId: before })).artifact?.artifactId).toBe(before);
  }
  expect(await installation.wrong()).toBe("");
  await postgres.start();
  await ready();
  const artifactId = await upload(other);
  expect((await download(other, artifactId)).equals(file)).toBe(true);
  expect(await installation.wrong()).toBe("");
});

test(
  "a server that stands still for longer than a lease stores nothing for the worker that lost it",
  { timeout: 90_000 },
  async () => {
    const workspaceId = newWorkspaceId();
    using client = createSignalboxClient({ baseUrl: installation.url, workspaceId });
    await using still = await installation.serve();
    using stuck = createSignalboxClient({ baseUrl: still.url, workspaceId });
    const runId = (await client.runs.createRun({ handler: "nobody" })).run?.runId ?? "";
    const claim = async () => (await client.engine.claimRun({ handlers: ["nobody"], workerId: "worker" })).leaseToken;
    const first = await until(claim, { what: "the first claim" });
    let second = "";
    const refused = await upload(
      stuck,
      async () => {
        process.kill(still.pid, "SIGSTOP");
        second = await until(claim, { what: "the second claim", timeoutMs: 30_000, intervalMs: 100 });
        process.kill(still.pid, "SIGCONT");
      },
      first,
    ).catch(reasonOf);
    expect(refused).toBe("LEASE_LOST");
    const { artifacts } = await client.artifacts.listArtifacts({ runId });
    expect(artifacts).toEqual([]);
    const artifactId = await upload(stuck, undefined, second);
    expect((await download(client, artifactId)).equals(file)).toBe(true);
    await installation.sweep();
    expect(await installation.wrong({ swept: true })).toBe("");
  },
);
