import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CreateUploadRequestSchema,
  FinishUploadRequestSchema,
  UploadChunkRequestSchema,
  UploadHeaderSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { KnownArtifact } from "../../src/artifacts/state.ts";
import { createMemoryBlobs } from "../../src/blobs/memory.ts";
import type { BlobStore } from "../../src/blobs/blob-store.ts";
import { callIn, createWorld, gather, pieces, specOf, type World } from "./world.ts";

const mebibyte = 1024 * 1024;

async function store(world: World, bytes: Uint8Array, recipient = ""): Promise<KnownArtifact> {
  const header = create(UploadHeaderSchema, { spec: specOf({ recipient }) });
  const { artifact } = await world.server().uploads.upload(callIn(), header, pieces(bytes));
  return world.known(artifact.artifactId);
}

/** Three parts of 1 MiB, 1 MiB and the rest. */
async function storeInChunks(world: World, bytes: Uint8Array): Promise<KnownArtifact> {
  const { uploads } = world.server();
  const spec = specOf({ sizeBytes: BigInt(bytes.length) });
  const { uploadId, chunkCount } = await uploads.begin(callIn(), create(CreateUploadRequestSchema, { spec }));
  for (let index = 0; index < chunkCount; index++) {
    const data = bytes.subarray(index * mebibyte, (index + 1) * mebibyte);
    await uploads.chunk(callIn(), create(UploadChunkRequestSchema, { uploadId, index, data }));
  }
  await uploads.finish(callIn(), create(FinishUploadRequestSchema, { uploadId }));
  return world.known(uploadId);
}

/** What a store answers when its bytes are not what was stored. */
function changing(blobs: BlobStore, change: (bytes: Buffer, name: string) => Buffer): BlobStore {
  return {
    ...blobs,
    async *read(name, range) {
      const end = (await Array.fromAsync(blobs.list())).find((blob) => blob.name === name)?.sizeBytes ?? 0;
      const whole = change(await gather(blobs.read(name, { from: 0, to: end })), name);
      yield whole.subarray(range.from, range.to);
    },
  };
}

async function readOver(world: World, known: KnownArtifact, blobs: BlobStore): Promise<Buffer> {
  return gather(await world.server({ blobs }).contents.open(known));
}

const corrupt = { reason: "ARTIFACT_CORRUPT" };

describe("the bytes of an artifact", () => {
  it("come out in any range, over the borders of its parts", async () => {
    const world = createWorld();
    const bytes = randomBytes(2 * mebibyte + 70_000);
    const known = await storeInChunks(world, bytes);
    const { contents } = world.server();
    const borders = [
      0,
      1,
      65_535,
      65_536,
      mebibyte - 1,
      mebibyte,
      mebibyte + 1,
      2 * mebibyte,
      bytes.length - 1,
      bytes.length,
    ];
    const place = fc.oneof(fc.constantFrom(...borders), fc.integer({ min: 0, max: bytes.length }));
    await fc.assert(
      fc.asyncProperty(place, place, async (a, b) => {
        const range = { from: Math.min(a, b), to: Math.max(a, b) };
        const found = await gather(await contents.open(known, range));
        expect(found.equals(bytes.subarray(range.from, range.to))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it("come in pieces of at most 64 KiB", async () => {
    const world = createWorld();
    const known = await storeInChunks(world, randomBytes(2 * mebibyte + 5));
    for await (const piece of await world.server().contents.open(known))
      expect(piece.length).toBeLessThanOrEqual(65_536);
  });

  it("are refused from the first byte on when any byte of a small one is flipped, and the alarm is told", async () => {
    const world = createWorld();
    const known = await store(world, Buffer.from("it matters"));
    const sizeBytes = (await Array.fromAsync(world.blobs.list()))[0]?.sizeBytes ?? 0;
    for (let at = 0; at < sizeBytes; at++) {
      const flipped = changing(world.blobs, (bytes) => {
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes;
      });
      await expect(world.server({ blobs: flipped }).contents.open(known), `byte ${at}`).rejects.toMatchObject(corrupt);
    }
    expect(world.damages).toHaveLength(sizeBytes);
    expect(world.damages[0]).toMatchObject({ workspaceId: "ws_one", artifactId: known.artifact.artifactId });
  });

  it("come out up to the damage and not beyond", async () => {
    const world = createWorld();
    const bytes = randomBytes(300_000);
    const known = await store(world, bytes);
    const damaged = changing(world.blobs, (stored) => {
      stored[200_000] = (stored[200_000] ?? 0) ^ 1;
      return stored;
    });
    const found: Uint8Array[] = [];
    const reading = async () => {
      for await (const piece of await world.server({ blobs: damaged }).contents.open(known)) found.push(piece);
    };
    await expect(reading()).rejects.toMatchObject(corrupt);
    const good = Buffer.concat(found);
    expect(good.equals(bytes.subarray(0, good.length))).toBe(true);
    expect(good.length).toBeLessThanOrEqual(3 * 65_536);
  });

  it("are refused when their parts changed places", async () => {
    const world = createWorld();
    const known = await storeInChunks(world, randomBytes(2 * mebibyte));
    const [one, two] = known.parts;
    if (one === undefined || two === undefined) throw new Error("two parts");
    const swapped = changing(world.blobs, (bytes) => bytes);
    const other = {
      ...swapped,
      read: (name: string, range: Parameters<BlobStore["read"]>[1]) =>
        swapped.read(name === one.blob ? two.blob : one.blob, range),
    };
    await expect(readOver(world, known, other)).rejects.toMatchObject(corrupt);
    // Whole parts in another order than was recorded: no seal is broken, but the SHA-256 of the whole does not fit.
    await expect(gather(await world.server().contents.open({ ...known, parts: [two, one] }))).rejects.toMatchObject(
      corrupt,
    );
  });

  it("do not seem to be complete when the SHA-256 of the whole does not fit", async () => {
    const world = createWorld();
    const bytes = randomBytes(200_000);
    const known = await store(world, bytes);
    known.artifact.sha256 = "0".repeat(64);
    let length = 0;
    const reading = async () => {
      for await (const piece of await world.server().contents.open(known)) length += piece.length;
    };
    await expect(reading()).rejects.toMatchObject(corrupt);
    expect(length).toBeLessThan(bytes.length);
  });

  it.each<[string, (bytes: Buffer) => Buffer]>([
    ["cut", (bytes) => bytes.subarray(0, -1)],
    ["empty", () => Buffer.of()],
  ])("are refused when the blob is %s", async (_, change) => {
    const world = createWorld();
    const known = await store(world, randomBytes(100_000));
    await expect(readOver(world, known, changing(world.blobs, change))).rejects.toMatchObject(corrupt);
  });

  it("are refused when the blob or the key is not there, and the alarm is told which", async () => {
    const world = createWorld();
    const known = await store(world, randomBytes(100));
    const keyless = { ...world.keys, open: async () => ({ state: "missing" as const }) };
    await expect(world.server({ keys: keyless }).contents.open(known)).rejects.toMatchObject(corrupt);
    const blob = known.parts[0]?.blob ?? "";
    await world.blobs.remove(blob);
    await expect(world.server().contents.open(known)).rejects.toMatchObject(corrupt);
    expect(world.damages.map(({ detail }) => detail)).toEqual([
      expect.stringContaining("key"),
      expect.stringContaining(blob),
    ]);
  });

  it("are gone without an alarm when the key was destroyed, also in the middle", async () => {
    const world = createWorld();
    const bytes = randomBytes(2 * mebibyte);
    const known = await storeInChunks(world, bytes);
    const { artifactId } = known.artifact;
    const opened = await world.server().contents.open(known);
    await world.keys.destroy("ws_one", artifactId);
    for (const { blob } of known.parts) await world.blobs.remove(blob);
    await expect(gather(opened)).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
    await expect(world.server().contents.open(known)).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
    expect(world.damages).toEqual([]);
  });

  it("are gone for a slow reader too whose file is still open when the key was destroyed", async () => {
    const world = createWorld();
    const known = await store(world, randomBytes(mebibyte));
    const reading = (await world.server().contents.open(known))[Symbol.asyncIterator]();
    await reading.next();
    await world.keys.destroy("ws_one", known.artifact.artifactId);
    world.clock.time = new Date(world.clock.time.getTime() + 5_000);
    await expect(reading.next()).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
    expect(world.damages).toEqual([]);
  });

  it.each(["deleted", "expired", "purged"] as const)("are gone when the artifact is %s", async (status) => {
    const world = createWorld();
    const known = { ...(await store(world, randomBytes(10))), status };
    const { contents } = world.server();
    await expect(contents.open(known)).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
    await expect(contents.openSealed(known)).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
  });

  it("are gone when their time is over, before anybody recorded it", async () => {
    const world = createWorld();
    const known = await store(world, randomBytes(10));
    world.clock.time = new Date(world.clock.time.getTime() + 7 * 86_400_000);
    await expect(world.server().contents.open(known)).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
  });

  it("are read no further than they are wanted, and the store is told when their reader leaves", async () => {
    const blobs = createMemoryBlobs();
    const seen = { pieces: 0, isClosed: false };
    const watched: BlobStore = {
      ...blobs,
      async *read(name, range) {
        try {
          for await (const piece of blobs.read(name, range)) {
            seen.pieces++;
            yield piece;
          }
        } finally {
          seen.isClosed = true;
        }
      },
    };
    const world = createWorld({ blobs: watched });
    const known = await store(world, randomBytes(4 * mebibyte));
    for await (const _ of await world.server().contents.open(known)) break;
    expect(seen.isClosed).toBe(true);
    expect(seen.pieces).toBeLessThan(6);
    seen.isClosed = false;
    const unread = await world.server().contents.open(known);
    await unread[Symbol.asyncIterator]().return?.();
    expect(seen.isClosed).toBe(true);
  });
});

describe("the sealed bytes of an artifact", () => {
  it("come as they are stored, with the key for the recipient", async () => {
    const world = createWorld();
    const known = await store(world, randomBytes(100_000), "age1recipient");
    const { wrappedKey, bytes } = await world.server().contents.openSealed(known);
    const [blob] = await Array.fromAsync(world.blobs.list());
    const stored = await gather(world.blobs.read(blob?.name ?? "", { from: 0, to: blob?.sizeBytes ?? 0 }));
    expect((await gather(bytes)).equals(stored)).toBe(true);
    expect(wrappedKey.length).toBeGreaterThan(0);
  });

  it("are for recipients only", async () => {
    const world = createWorld();
    const known = await store(world, randomBytes(10));
    await expect(world.server().contents.openSealed(known)).rejects.toMatchObject({ reason: "INVALID_STATE" });
  });
});
