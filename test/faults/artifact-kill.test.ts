import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSignalboxClient, reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { type ArtifactInstallation, type Death, openArtifactInstallation } from "./support/artifact-installation.ts";

let installation: ArtifactInstallation;
beforeAll(async () => {
  installation = await openArtifactInstallation();
}, 60_000);
afterAll(() => installation?.[Symbol.asyncDispose]());

const mebibyte = 1024 * 1024;
const file = randomBytes(2.5 * mebibyte);
const small = file.subarray(0, 5_000);

/** Stores something; the same again, whoever is asked. Returns the artifact's id. */
type Work = (client: SignalboxClient, runId: string) => Promise<string>;

const inStream: Work = async ({ artifacts }) => {
  const header = { requestId: "report", spec: { name: "report.bin" } };
  async function* frames() {
    yield { frame: { case: "header" as const, value: header } };
    for (let at = 0; at < file.length; at += 500_000) {
      yield { frame: { case: "data" as const, value: file.subarray(at, at + 500_000) } };
    }
  }
  return (await artifacts.uploadArtifact(frames())).artifact?.artifactId ?? "";
};

const inChunks: Work = async ({ artifacts }) => {
  const spec = { name: "report.bin", sizeBytes: BigInt(file.length) };
  const { upload } = await artifacts.createUpload({ requestId: "report", spec });
  const { uploadId = "", chunkCount = 0, receivedChunks = [] } = upload ?? {};
  for (let index = chunkCount - 1; index >= 0; index--) {
    if (receivedChunks.includes(index)) continue;
    await artifacts.uploadChunk({ uploadId, index, data: file.subarray(index * mebibyte, (index + 1) * mebibyte) });
  }
  return (await artifacts.finishUpload({ uploadId })).artifact?.artifactId ?? uploadId;
};

const ofRun: Work = async ({ artifacts }, runId) => {
  const request = { requestId: "report", spec: { name: "report.bin", runId }, data: small };
  return (await artifacts.createArtifact(request)).artifact?.artifactId ?? "";
};

interface Point {
  readonly name: string;
  readonly work: Work;
  readonly bytes: Uint8Array;
  readonly death: (workspaceId: string) => Death;
}

const points: readonly Point[] = [
  { name: "in the middle of an upload", work: inStream, bytes: file, death: store("blobs.put", "during", 1) },
  { name: "between bytes and event", work: inStream, bytes: file, death: event("artifact.created", "before") },
  { name: "between two chunks", work: inChunks, bytes: file, death: store("sessions.create", "after", 3) },
  { name: "in the middle of a finish", work: inChunks, bytes: file, death: event("artifact.created", "after") },
  { name: "between its run and itself", work: ofRun, bytes: small, death: event("run.artifact_added", "after") },
];

function store(effect: "blobs.put" | "sessions.create", when: "before" | "during" | "after", occurrence: number) {
  return (workspaceId: string): Death => ({ inStore: { effect, when, workspaceId, occurrence } });
}

function event(type: string, when: "before" | "after") {
  return (workspaceId: string): Death => ({ inLog: { type, when, workspaceId, occurrence: 1 } });
}

async function download({ artifacts }: SignalboxClient, artifactId: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { frame } of artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  return Buffer.concat(pieces);
}

function clientOf(url: string, workspaceId: string) {
  return createSignalboxClient({ baseUrl: url, workspaceId });
}

describe("a server that dies", { timeout: 90_000 }, () => {
  test.for(points)("$name: what is on record is there, and the same request makes one artifact", async (point) => {
    const { work, bytes, death } = point;
    const workspaceId = newWorkspaceId();
    await using victim = await installation.serve(death(workspaceId));
    using dying = clientOf(victim.url, workspaceId);
    using client = clientOf(installation.url, workspaceId);
    const runId = (await client.runs.createRun({ handler: "nobody" })).run?.runId ?? "";
    const died = work(dying, runId).catch(() => "");
    expect(await victim.exited).toBe("SIGKILL");
    expect(await installation.wrong()).toBe("");
    expect(await died).toBe("");
    const artifactId = await work(client, runId);
    expect(await work(client, runId)).toBe(artifactId);
    expect((await download(client, artifactId)).equals(bytes)).toBe(true);
    const { artifacts } = await client.artifacts.listArtifacts({ minPosition: await head(client, artifactId) });
    expect(artifacts.map((each) => each.artifactId)).toEqual([artifactId]);
    expect(await installation.wrong()).toBe("");
  });

  test.for(["keys.remove", "blobs.remove"] as const)(
    "before %s of what it purges: it goes all the same",
    async (effect) => {
      const workspaceId = newWorkspaceId();
      using client = clientOf(installation.url, workspaceId);
      const artifactId = await inChunks(client, "");
      const inStore = { effect, when: "before", workspaceId, occurrence: 1 } as const;
      await using victim = await installation.serve({ inStore });
      using dying = clientOf(victim.url, workspaceId);
      const died = dying.artifacts.deleteArtifact({ artifactId, permanent: true }).catch(() => undefined);
      expect(await victim.exited).toBe("SIGKILL");
      expect(await died).toBeUndefined();
      expect(await installation.wrong()).toBe("");
      expect(await download(client, artifactId).catch(reasonOf)).toBe("ARTIFACT_EXPIRED");
      const isGone = async () => (await installation.blobs(workspaceId)).length === 0;
      await until(isGone, { what: "the bytes to go" });
    },
  );
});

async function head({ artifacts }: SignalboxClient, artifactId: string): Promise<bigint> {
  return (await artifacts.getArtifact({ artifactId })).artifact?.position ?? 0n;
}

// One of three artifacts is wrapped by the new key then.
test(
  "`signalbox keys rotate` that dies in the middle hurts nobody, and the next one goes on",
  { timeout: 90_000 },
  async () => {
    const workspaceId = newWorkspaceId();
    using client = clientOf(installation.url, workspaceId);
    const stored = await Promise.all(
      [1, 2, 3].map(async (index) => {
        const data = randomBytes(100 * index);
        const { artifact } = await client.artifacts.createArtifact({ spec: { name: "report.bin" }, data });
        return { artifactId: artifact?.artifactId ?? "", data };
      }),
    );
    const readable = async () => {
      for (const { artifactId, data } of stored) expect((await download(client, artifactId)).equals(data)).toBe(true);
      return installation.wrong();
    };
    const rotate = ["keys", "rotate", "--workspace", workspaceId];
    const inStore = { effect: "keys.update", when: "after", workspaceId, occurrence: 2 } as const;
    await using victim = installation.signalbox(rotate, { inStore });
    expect(await victim.exited).toBe("SIGKILL");
    expect(await readable()).toBe("");
    const artifactId = await inStream(client, "");
    expect((await download(client, artifactId)).equals(file)).toBe(true);
    await using next = installation.signalbox(rotate);
    expect(await next.exited).toBe(0);
    expect(await readable()).toBe("");
    expect((await download(client, artifactId)).equals(file)).toBe(true);
  },
);

test("a sweep that dies between a key and its bytes is finished by the next one", { timeout: 90_000 }, async () => {
  const [server] = installation.processes.servers;
  const workspaceId = newWorkspaceId();
  using client = clientOf(installation.url, workspaceId);
  const kept = await inStream(client, "");
  const { artifactId = "" } =
    (await client.artifacts.createArtifact({ spec: { name: "b" }, data: small })).artifact ?? {};
  await using deleting = await installation.serve({
    inStore: { effect: "keys.remove", when: "before", workspaceId, occurrence: 1 },
  });
  // Nobody else may finish what it begins.
  await server?.kill();
  using dying = clientOf(deleting.url, workspaceId);
  await dying.artifacts.deleteArtifact({ artifactId, permanent: true }).catch(() => undefined);
  expect(await deleting.exited).toBe("SIGKILL");
  const death: Death = { inStore: { effect: "blobs.remove", when: "before", workspaceId, occurrence: 1 } };
  await using sweeping = installation.signalbox(["serve"], death, { SIGNALBOX_ROLES: "projector,reactors" });
  expect(await sweeping.exited).toBe("SIGKILL");
  expect(await installation.wrong()).toBe("");
  expect(await installation.blobs(workspaceId)).toHaveLength(2);
  await server?.start();
  const isSwept = async () => (await installation.blobs(workspaceId)).length === 1;
  await until(isSwept, { what: "the next sweep", timeoutMs: 30_000 });
  expect((await download(client, kept)).equals(file)).toBe(true);
  // What the uploads of this file have left behind is older than nothing: all of it goes, and nothing else.
  await installation.sweep();
  expect(await installation.wrong({ swept: true })).toBe("");
});
