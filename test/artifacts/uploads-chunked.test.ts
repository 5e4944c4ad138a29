import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ArtifactSpec } from "../../gen/signalbox/v1/artifact_pb.ts";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import {
  CreateUploadRequestSchema,
  FinishUploadRequestSchema,
  UploadChunkRequestSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { indexRanges } from "../../src/artifacts/chunk-plan.ts";
import { createMemorySessionStore } from "../../src/artifacts/memory-session-store.ts";
import { openSessionStore, type SessionStore } from "../../src/artifacts/session-store.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { callIn, createWorld, gather, hashOf, specOf, type World } from "./world.ts";

const mebibyte = 1024 * 1024;
/** Three chunks, the last one short. */
const file = randomBytes(2 * mebibyte + 12_345);

function chunkOf(bytes: Uint8Array, index: number): Uint8Array {
  return bytes.subarray(index * mebibyte, (index + 1) * mebibyte);
}

const beginOf = (fields: Partial<ArtifactSpec> = {}, requestId = "") =>
  create(CreateUploadRequestSchema, { requestId, spec: specOf({ sizeBytes: BigInt(file.length), ...fields }) });

const chunkRequest = (uploadId: string, index: number, data = chunkOf(file, index)) =>
  create(UploadChunkRequestSchema, { uploadId, index, data, sha256: hashOf(data) });

const finishOf = (uploadId: string, sha256 = "") => create(FinishUploadRequestSchema, { uploadId, sha256 });

/** Sends chunks one after the other, each over a server of its own. */
async function send(world: World, uploadId: string, indexes: readonly number[]): Promise<void> {
  for (const index of indexes) await world.server().uploads.chunk(callIn(), chunkRequest(uploadId, index));
}

let backend: TestBackend;
let natsSessions: SessionStore;
beforeAll(async () => {
  backend = await openTestBackend();
  natsSessions = await openSessionStore({ nats: backend.nats, bucket: `UPLOADS_${backend.prefix}`, replicas: 1 });
});
afterAll(() => backend[Symbol.asyncDispose]());

describe.each(["memory", "nats"])("an upload in chunks, remembered in %s", (kind) => {
  // One bucket serves all tests: every test has a workspace of its own.
  let tests = 0;
  let workspaceId = "";
  function world(): World {
    workspaceId = `ws_${kind}${++tests}`;
    return createWorld({ sessions: kind === "nats" ? natsSessions : createMemorySessionStore() });
  }
  const call = () => callIn(workspaceId);

  async function sendAll(on: World, uploadId: string, indexes: readonly number[]): Promise<void> {
    for (const index of indexes) await on.server().uploads.chunk(call(), chunkRequest(uploadId, index));
  }

  it("comes back whole, its chunks sent in any order, twice and over several servers", async () => {
    const on = world();
    const upload = await on.server().uploads.begin(call(), beginOf());
    expect(upload).toMatchObject({ chunkSizeBytes: mebibyte, chunkCount: 3, receivedChunks: [] });
    await sendAll(on, upload.uploadId, [2, 0, 2]);
    expect((await on.server().uploads.get(call(), upload.uploadId)).receivedChunks).toEqual([0, 2]);
    await sendAll(on, upload.uploadId, [1, 0]);
    const { artifact } = await on.server().uploads.finish(call(), finishOf(upload.uploadId, hashOf(file)));
    expect(artifact).toMatchObject({
      artifactId: upload.uploadId,
      sizeBytes: BigInt(file.length),
      sha256: hashOf(file),
    });
    const known = await on.known(upload.uploadId, workspaceId);
    expect(await on.blobNames()).toHaveLength(3);
    expect(hashOf(await gather(await on.server().contents.open(known)))).toBe(hashOf(file));
  });

  it("names the chunks that are missing", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf());
    await sendAll(on, uploadId, [1]);
    const refusal = { reason: "INVALID_STATE", metadata: { missing_chunks: "0,2" } };
    await expect(uploads.finish(call(), finishOf(uploadId))).rejects.toMatchObject(refusal);
    await sendAll(on, uploadId, [0, 2]);
    expect((await uploads.finish(call(), finishOf(uploadId))).artifact.sha256).toBe(hashOf(file));
  });

  it("takes the first bytes of a chunk, and refuses others", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf());
    await uploads.chunk(call(), chunkRequest(uploadId, 0));
    const other = chunkRequest(uploadId, 0, randomBytes(mebibyte));
    await expect(uploads.chunk(call(), other)).rejects.toMatchObject({ reason: "INVALID_STATE" });
    expect(await on.blobNames()).toHaveLength(1);
  });

  it("keeps one blob of a chunk that comes many times at the same time", async () => {
    const on = world();
    const { uploadId } = await on.server().uploads.begin(call(), beginOf());
    await Promise.all(Array.from({ length: 5 }, () => sendAll(on, uploadId, [0])));
    expect(await on.blobNames()).toHaveLength(1);
  });

  it("becomes one artifact however many finish it at the same time", async () => {
    const on = world();
    const { uploadId } = await on.server().uploads.begin(call(), beginOf());
    await sendAll(on, uploadId, [0, 1, 2]);
    const finishing = Array.from({ length: 6 }, () => on.server().uploads.finish(call(), finishOf(uploadId)));
    const answers = await Promise.all(finishing);
    expect(new Set(answers.map(({ artifact }) => artifact)).size).toBe(1);
    expect(await on.blobNames()).toHaveLength(3);
  });

  it("is not under way any more once it is finished, and finishing again answers the artifact", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf());
    await sendAll(on, uploadId, [0, 1, 2]);
    const first = await uploads.finish(call(), finishOf(uploadId));
    expect(await uploads.finish(call(), finishOf(uploadId, hashOf(file)))).toEqual(first);
    await expect(uploads.finish(call(), finishOf(uploadId, "0".repeat(64)))).rejects.toMatchObject({
      reason: "CHECKSUM_MISMATCH",
    });
    await expect(uploads.chunk(call(), chunkRequest(uploadId, 0))).rejects.toMatchObject({
      reason: "UPLOAD_NOT_FOUND",
    });
    await expect(uploads.get(call(), uploadId)).rejects.toMatchObject({ reason: "UPLOAD_NOT_FOUND" });
    expect(await on.blobNames()).toHaveLength(3);
  });

  it("is not there for another workspace", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf());
    const stranger = callIn("ws_stranger");
    const refusal = { reason: "UPLOAD_NOT_FOUND" };
    await expect(uploads.chunk(stranger, chunkRequest(uploadId, 0))).rejects.toMatchObject(refusal);
    await expect(uploads.get(stranger, uploadId)).rejects.toMatchObject(refusal);
    await expect(uploads.finish(stranger, finishOf(uploadId))).rejects.toMatchObject(refusal);
  });

  it("is not there for others of the workspace, who would own what comes of it", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf({}, "r1"));
    const others = { ...call(), principal: create(PrincipalSchema, { type: PrincipalType.USER, id: "mallory" }) };
    const refusal = { reason: "UPLOAD_NOT_FOUND" };
    await expect(uploads.chunk(others, chunkRequest(uploadId, 0))).rejects.toMatchObject(refusal);
    await expect(uploads.get(others, uploadId)).rejects.toMatchObject(refusal);
    await sendAll(on, uploadId, [0, 1, 2]);
    await expect(uploads.finish(others, finishOf(uploadId))).rejects.toMatchObject(refusal);
    await expect(uploads.begin(others, beginOf({}, "r1"))).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    expect((await uploads.finish(call(), finishOf(uploadId))).artifact.createBy).toMatchObject({ id: "alice" });
  });

  it("of a run is gone on with by whoever has its lease next", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf({ leaseToken: "one" }, "r1"));
    await sendAll(on, uploadId, [0, 1, 2]);
    const next = { ...call(), principal: create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "worker_2" }) };
    const again = await uploads.begin(next, beginOf({ leaseToken: "two" }, "r1"));
    expect(again).toMatchObject({ uploadId, receivedChunks: [0, 1, 2] });
    await expect(uploads.get(call(), uploadId)).rejects.toMatchObject({ reason: "UPLOAD_NOT_FOUND" });
    await uploads.finish(next, finishOf(uploadId));
  });

  it("takes room of its workspace until it is finished", async () => {
    const on = world();
    on.allowance.workspaceBytes = 2 * file.length;
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf());
    await uploads.begin(call(), beginOf({}, "r2"));
    await expect(uploads.begin(call(), beginOf())).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    await uploads.begin(call(), beginOf({}, "r2"));
    await sendAll(on, uploadId, [0, 1, 2]);
    await uploads.finish(call(), finishOf(uploadId));
    await uploads.begin(call(), beginOf());
  });

  it("is over after 24 hours, and can be begun again under its request_id, without its old chunks", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId, expireTime } = await uploads.begin(call(), beginOf({}, "r1"));
    expect(Number(expireTime?.seconds)).toBe(on.clock.time.getTime() / 1_000 + 86_400);
    await sendAll(on, uploadId, [0]);
    on.clock.time = new Date(on.clock.time.getTime() + 86_400_000);
    await expect(uploads.chunk(call(), chunkRequest(uploadId, 1))).rejects.toMatchObject({
      reason: "UPLOAD_NOT_FOUND",
    });
    await expect(uploads.finish(call(), finishOf(uploadId))).rejects.toMatchObject({ reason: "UPLOAD_NOT_FOUND" });
    const again = await uploads.begin(call(), beginOf({ name: "another.txt" }, "r1"));
    expect(again).toMatchObject({ uploadId, receivedChunks: [] });
  });

  it("goes on where it was when it is begun again, also under the next lease", async () => {
    const on = world();
    const { uploads } = on.server();
    const { uploadId } = await uploads.begin(call(), beginOf({ leaseToken: "lease one" }, "r1"));
    await sendAll(on, uploadId, [0, 1]);
    const again = await uploads.begin(call(), beginOf({ leaseToken: "lease two" }, "r1"));
    expect(again).toMatchObject({ uploadId, receivedChunks: [0, 1] });
    await sendAll(on, uploadId, [2]);
    await uploads.finish(call(), finishOf(uploadId));
    const afterwards = await uploads.begin(call(), beginOf({ leaseToken: "lease three" }, "r1"));
    expect(afterwards).toMatchObject({ uploadId, chunkCount: 3, receivedChunks: [0, 1, 2] });
  });

  it("is begun once when many begin it at the same time", async () => {
    const on = world();
    const beginning = Array.from({ length: 5 }, () => on.server().uploads.begin(call(), beginOf({}, "r1")));
    const begun = await Promise.all(beginning);
    expect(new Set(begun.map(({ uploadId }) => uploadId)).size).toBe(1);
    await sendAll(on, begun[0]?.uploadId ?? "", [0, 1, 2]);
    const { artifact } = await on.server().uploads.finish(call(), finishOf(begun[0]?.uploadId ?? ""));
    expect(artifact.sha256).toBe(hashOf(file));
  });
});

describe("an upload in chunks", () => {
  it("refuses chunks that do not fit, and says how", async () => {
    const world = createWorld();
    const { uploads } = world.server();
    const { uploadId } = await uploads.begin(callIn(), beginOf());
    const misfits: [number, number][] = [
      [3, 1],
      [4_294_967_295, 1],
      [0, mebibyte - 1],
      [0, mebibyte + 1],
      [2, mebibyte],
    ];
    for (const [index, size] of misfits) {
      const sending = uploads.chunk(callIn(), chunkRequest(uploadId, index, randomBytes(size)));
      await expect(sending, `chunk ${index} of ${size} bytes`).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
    }
    const wrong = create(UploadChunkRequestSchema, {
      uploadId,
      index: 0,
      data: chunkOf(file, 0),
      sha256: "0".repeat(64),
    });
    await expect(uploads.chunk(callIn(), wrong)).rejects.toMatchObject({ reason: "CHECKSUM_MISMATCH" });
    expect(await world.blobNames()).toEqual([]);
  });

  it("of no bytes has no chunks", async () => {
    const world = createWorld();
    const { uploads, contents } = world.server();
    const upload = await uploads.begin(callIn(), beginOf({ sizeBytes: 0n }));
    expect(upload.chunkCount).toBe(0);
    const { artifact } = await uploads.finish(callIn(), finishOf(upload.uploadId, hashOf(Buffer.of())));
    expect((await gather(await contents.open(await world.known(artifact.artifactId)))).length).toBe(0);
  });

  it("has to say its size, within the limit", async () => {
    const { uploads } = createWorld().server();
    const unsaid = create(CreateUploadRequestSchema, { spec: specOf() });
    await expect(uploads.begin(callIn(), unsaid)).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
    const large = beginOf({ sizeBytes: 2n ** 60n });
    await expect(uploads.begin(callIn(), large)).rejects.toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
  });

  it.each(["spec", "request"])("with another checksum in its %s is refused at the end", async (where) => {
    const world = createWorld();
    const { uploads } = world.server();
    const wrong = "0".repeat(64);
    const { uploadId } = await uploads.begin(callIn(), beginOf(where === "spec" ? { sha256: wrong } : {}));
    await send(world, uploadId, [0, 1, 2]);
    const finishing = uploads.finish(callIn(), finishOf(uploadId, where === "request" ? wrong : ""));
    await expect(finishing).rejects.toMatchObject({ reason: "CHECKSUM_MISMATCH" });
  });

  it("asks again for a chunk that is damaged in the store, tells the alarm, and then finishes", async () => {
    const world = createWorld();
    const { uploads } = world.server();
    const { uploadId } = await uploads.begin(callIn(), beginOf());
    await send(world, uploadId, [0]);
    const [lost = ""] = await world.blobNames();
    await send(world, uploadId, [1, 2]);
    await world.blobs.remove(lost);
    const refusal = { reason: "INVALID_STATE", metadata: { missing_chunks: "0" } };
    await expect(uploads.finish(callIn(), finishOf(uploadId))).rejects.toMatchObject(refusal);
    expect(world.damages).toMatchObject([{ artifactId: uploadId }]);
    await send(world, uploadId, [0]);
    expect((await uploads.finish(callIn(), finishOf(uploadId))).artifact.sha256).toBe(hashOf(file));
  });

  it("to a recipient is read before the key is given away, and finishes from any server", async () => {
    const world = createWorld();
    const { uploadId } = await world.server().uploads.begin(callIn(), beginOf({ recipient: "age1recipient" }));
    await send(world, uploadId, [0, 1, 2]);
    const finishing = Array.from({ length: 4 }, () => world.server().uploads.finish(callIn(), finishOf(uploadId)));
    const answers = await Promise.all(finishing);
    expect(new Set(answers.map(({ artifact }) => artifact.sha256))).toEqual(new Set([hashOf(file)]));
    expect(await world.keys.open("ws_one", uploadId)).toMatchObject({ state: "sealed" });
  });
});

describe("indexes in words", () => {
  it("join neighbours, and name the first 200 ranges", () => {
    expect(indexRanges([])).toBe("");
    expect(indexRanges([0, 1, 2, 7, 9, 10])).toBe("0-2,7,9-10");
    expect(indexRanges(Array.from({ length: 1_000 }, (_, i) => 2 * i)).split(",")).toHaveLength(200);
  });
});
