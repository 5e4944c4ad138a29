import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { ArtifactStatus } from "../../gen/signalbox/v1/artifact_pb.ts";
import { openKeys } from "../../src/cli/keys.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { signalbox as self } from "../../src/kernel/principal.ts";
import { signalbox } from "../cli/signalbox.ts";
import { artifactOptions } from "../support/artifact-options.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { bundled, downloaded, followed, linkTo, someBytes, stored, streamed } from "./files.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun } from "./runs.ts";
import { headPosition } from "./subscribed.ts";
import { openFileInstallation } from "./stored-files.ts";

const mebibyte = 1024 * 1024;
const rootKey = someBytes(32);
const usual = artifactOptions(rootKey);
const installation = await openFileInstallation(
  { servers: 2, artifacts: { ...usual, sweepIntervals: { dueMs: 100, orphansMs: 100 } } },
  { maxWorkspaceBytes: 3 * mebibyte },
);
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const client = installation.client({ workspaceId });
const { artifacts } = client;
const [secret, kept] = [Buffer.from("what has to go"), Buffer.from("what stays")];

/** A file of a run that has another one too, and the ways to its bytes. */
async function openFile(retentionSeconds?: bigint) {
  const runId = await createRun(client, { handler: "nobody" });
  await stored(client, kept, { runId, name: "kept.txt" });
  const retention = retentionSeconds === undefined ? {} : { retention: { seconds: retentionSeconds } };
  const { artifactId } = await stored(client, secret, { runId, name: "secret.txt", ...retention });
  const { url } = await linkTo(client, artifactId);
  return { artifactId, runId, url, signed: await followed(url) };
}
type File = Awaited<ReturnType<typeof openFile>>;

/** How every way to the bytes of a file is answered. */
async function answers({ artifactId, runId, url, signed }: File) {
  const path = join(installation.folder, `${artifactId}.zip`);
  const zip = await bundled(client, runId);
  await writeFile(path, zip);
  const { stdout } = await signalbox(["verify", path, "--json"]);
  const said = (JSON.parse(stdout) as { artifacts: { artifactId: string; omitted?: string }[] }).artifacts;
  expect(zip.includes(kept)).toBe(true);
  return {
    download: await reasonOr(downloaded(client, artifactId)),
    link: (await fetch(url)).status,
    signed: (await fetch(signed)).status,
    newLink: await reasonOr(artifacts.createDownloadUrl({ artifactId })),
    bundle: said.find((each) => each.artifactId === artifactId)?.omitted,
    inZip: zip.includes(secret),
  };
}

async function reasonOr(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => "given",
    (error: unknown) => reasonFor(Promise.reject(error as Error)),
  );
}

const there = { download: "given", link: 200, signed: 200, newLink: "given", bundle: undefined, inZip: true };
const gone = {
  download: "ARTIFACT_EXPIRED",
  link: 410,
  signed: 410,
  newLink: "ARTIFACT_EXPIRED",
  bundle: "gone",
  inZip: false,
};

const statusOf = async (artifactId: string) => (await artifacts.getArtifact({ artifactId })).artifact?.status;

describe("an artifact that is", () => {
  test("deleted is gone by every way, and back by every way once it is restored", async () => {
    const file = await openFile();
    const { artifactId } = file;
    expect(await answers(file)).toEqual(there);
    await artifacts.deleteArtifact({ artifactId });
    expect(await answers(file)).toEqual(gone);
    expect(await statusOf(artifactId)).toBe(ArtifactStatus.DELETED);
    await artifacts.restoreArtifact({ artifactId });
    expect(await answers(file)).toEqual(there);
  });

  test("past its time is gone by every way from that moment, and back once it is restored", async () => {
    const file = await openFile(1n);
    const { artifactId } = file;
    await until(async () => (await reasonOr(downloaded(client, artifactId))) !== "given", { what: "its time to end" });
    expect(await answers(file)).toEqual(gone);
    await until(async () => (await statusOf(artifactId)) === ArtifactStatus.EXPIRED, { what: "that to be on record" });
    expect(await answers(file)).toEqual(gone);
    await artifacts.restoreArtifact({ artifactId });
    expect(await answers(file)).toEqual(there);
  });

  test("purged is gone by every way and for ever, with its bytes; its record and its bundle stay whole", async () => {
    const file = await openFile();
    const { artifactId, runId } = file;
    const before = (await artifacts.getArtifact({ artifactId })).artifact;
    expect(await installation.blobsOf(workspaceId, artifactId)).toHaveLength(1);
    await artifacts.deleteArtifact({ artifactId, permanent: true });
    expect(await answers(file)).toEqual(gone);
    expect(await reasonFor(artifacts.restoreArtifact({ artifactId }))).toBe("ARTIFACT_EXPIRED");
    await until(async () => (await installation.blobsOf(workspaceId, artifactId)).length === 0, {
      what: "its bytes to go",
    });
    const { artifact } = await artifacts.getArtifact({ artifactId });
    expect(artifact).toMatchObject({ status: ArtifactStatus.PURGED, sha256: before?.sha256, name: before?.name });
    const path = join(installation.folder, `${runId}-purged.zip`);
    await writeFile(path, await bundled(client, runId));
    expect((await signalbox(["verify", path])).code).toBe(0);
  });

  test("on legal hold stays, whoever would have it gone, and goes when the hold is off", async () => {
    const file = await openFile(1n);
    const { artifactId } = file;
    const { artifact } = await artifacts.setLegalHold({ artifactId, held: true, reason: "case 12" });
    const endMs = Number(artifact?.expireTime?.seconds ?? 0n) * 1000 + (artifact?.expireTime?.nanos ?? 0) / 1e6;
    for (const permanent of [false, true]) {
      expect(await reasonFor(artifacts.deleteArtifact({ artifactId, permanent }))).toBe("INVALID_STATE");
    }
    await until(() => Date.now() > endMs + 300, { what: "its time to end" });
    expect(await answers(file)).toEqual(there);
    expect((await artifacts.getStorageUsage({ minPosition: await headPosition(client) })).usage?.heldCount).toBe(1n);
    await artifacts.setLegalHold({ artifactId, held: false, reason: "closed" });
    expect(await answers(file)).toEqual(gone);
  });
});

test("destroying the keys of a workspace takes all its files at once, on every server, and no other workspace's", async () => {
  const [doomed, safe] = [newWorkspaceId(), newWorkspaceId()];
  const [own, others] = [doomed, safe].map((each) => installation.client({ workspaceId: each }));
  if (own === undefined || others === undefined) throw new Error("there are two");
  const elsewhere = installation.client({ workspaceId: doomed, baseUrl: installation.servers[1]?.url });
  const runId = await createRun(own, { handler: "nobody" });
  const file = await stored(own, secret, { runId });
  const other = await stored(others, kept);
  const signed = await followed((await linkTo(own, file.artifactId)).url);
  expect(await downloaded(elsewhere, file.artifactId)).toEqual(secret);
  const { nats, log, prefix } = installation.backend;
  const { care } = await openKeys({
    stores: { nats, log, prefix },
    settings: usual.rootKeys,
    replicas: 1,
    clock,
    ids,
    env: {},
  });
  await care.destroyWorkspace(doomed, { reason: "the contract has ended", by: self });
  for (const reader of [own, elsewhere]) {
    expect(await reasonOr(downloaded(reader, file.artifactId))).toBe("ARTIFACT_EXPIRED");
  }
  expect((await fetch(signed)).status).toBe(410);
  const path = join(installation.folder, "shredded.zip");
  await writeFile(path, await bundled(own, runId));
  const { code, stdout } = await signalbox(["verify", path]);
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining("0 of 1 artifact") as string });
  expect(await downloaded(others, other.artifactId)).toEqual(kept);
  // What comes from now on has a key of its own.
  const next = await stored(own, kept);
  expect(await downloaded(elsewhere, next.artifactId)).toEqual(kept);
});

test("a workspace keeps as much as it may, told by every way in, and has room again when something is purged", async () => {
  const own = installation.client({ workspaceId: newWorkspaceId() });
  const usage = async () => (await own.artifacts.getStorageUsage({ minPosition: await headPosition(own) })).usage;
  const first = await streamed(own, someBytes(2 * mebibyte));
  await stored(own, someBytes(mebibyte));
  expect(await usage()).toMatchObject({ artifactCount: 2n, sizeBytes: BigInt(3 * mebibyte) });
  const ways = [
    () => stored(own, Buffer.from("x")),
    () => streamed(own, Buffer.from("x")),
    () => own.artifacts.createUpload({ spec: { name: "a", sizeBytes: 1n } }),
  ];
  for (const way of ways) {
    expect(await refusal(way())).toMatchObject({ code: Code.ResourceExhausted, reason: "QUOTA_EXCEEDED" });
  }
  const { artifactId } = first;
  await own.artifacts.deleteArtifact({ artifactId });
  expect(await reasonFor(stored(own, Buffer.from("x")))).toBe("QUOTA_EXCEEDED");
  await own.artifacts.deleteArtifact({ artifactId, permanent: true });
  expect(await usage()).toMatchObject({ artifactCount: 1n, sizeBytes: BigInt(mebibyte) });
  await until(async () => (await reasonOr(stored(own, Buffer.from("x")))) === "given", { what: "room again" });
});
