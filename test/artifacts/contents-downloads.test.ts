import { randomBytes } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  DownloadArtifactRequestSchema,
  type DownloadArtifactResponse,
  DownloadArtifactResponseSchema,
  UploadHeaderSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { createDownload, type DownloadWish } from "../../src/artifacts/downloads.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { callIn, createWorld, pieces, specOf } from "./world.ts";

/** A world with one artifact, and the download of it. */
async function stored(bytes: Uint8Array, recipient = "") {
  const world = createWorld();
  const server = world.server();
  const header = create(UploadHeaderSchema, { spec: specOf({ recipient }) });
  const { artifact } = await server.uploads.upload(callIn(), header, pieces(bytes));
  const wishes: DownloadWish[] = [];
  const access = {
    require: async (_: unknown, wish: DownloadWish) => {
      wishes.push(wish);
      return world.known(wish.artifactId);
    },
  };
  const download = createDownload({ access, contents: server.contents });
  const { artifactId } = artifact;
  const ask = (request: MessageInitShape<typeof DownloadArtifactRequestSchema> = {}) =>
    download(callIn(), create(DownloadArtifactRequestSchema, { artifactId, ...request }), "127.0.0.1");
  return { world, server, artifact, wishes, ask };
}

async function split(messages: AsyncIterable<DownloadArtifactResponse>) {
  // As the network does: a message is good until the next one is asked for.
  const [first, ...rest] = await Array.fromAsync(messages, (message) =>
    fromBinary(DownloadArtifactResponseSchema, toBinary(DownloadArtifactResponseSchema, message)),
  );
  const header = first?.frame.case === "header" ? first.frame.value : undefined;
  const data = rest.map(({ frame }) => (frame.case === "data" ? frame.value : undefined));
  if (header === undefined || data.includes(undefined)) throw new Error("a header, then data only");
  return { header, bytes: Buffer.concat(data.filter((piece) => piece !== undefined)) };
}

describe("a download", () => {
  it.each([0, 1, 99_999, 100_000])("has the artifact first, then its bytes from byte %i on", async (offset) => {
    const bytes = randomBytes(100_000);
    const { ask, artifact, wishes } = await stored(bytes);
    const found = await split(ask({ offset: BigInt(offset) }));
    expect(found.header.artifact).toEqual(artifact);
    expect(found.header.sealed).toBeUndefined();
    expect(found.bytes.equals(bytes.subarray(offset))).toBe(true);
    expect(wishes).toMatchObject([{ offset: BigInt(offset), remoteAddress: "127.0.0.1" }]);
  });

  it("of an empty file has the artifact only", async () => {
    const { ask } = await stored(Buffer.of());
    expect((await split(ask())).bytes.length).toBe(0);
  });

  it("beyond the end is refused", async () => {
    const { ask } = await stored(randomBytes(10));
    await expect(split(ask({ offset: 11n }))).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
    await expect(split(ask({ offset: 2n ** 64n - 1n }))).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
  });

  it("gives a recipient the sealed bytes, the parts and the key, from the beginning only", async () => {
    const { ask } = await stored(randomBytes(100_000), "age1recipient");
    const { header, bytes } = await split(ask({ sealed: true }));
    expect(header.sealed?.wrappedKey.length).toBeGreaterThan(0);
    expect(header.sealed?.parts).toMatchObject([{ sizeBytes: 100_000n }]);
    expect(bytes.length).toBeGreaterThan(100_000);
    await expect(split(ask({ sealed: true, offset: 1n }))).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
    await expect(split(ask())).rejects.toMatchObject({ reason: "INVALID_STATE" });
  });

  it("sends nothing when access is refused", async () => {
    const { server } = await stored(randomBytes(10));
    const refusal = new SignalboxError("PERMISSION_DENIED", "not yours");
    const download = createDownload({ access: { require: () => Promise.reject(refusal) }, contents: server.contents });
    await expect(download(callIn(), create(DownloadArtifactRequestSchema))[Symbol.asyncIterator]().next()).rejects.toBe(
      refusal,
    );
  });

  it("fails before its header when the bytes are damaged", async () => {
    const { world, ask, artifact } = await stored(randomBytes(10));
    const known = await world.known(artifact.artifactId);
    await world.blobs.remove(known.parts[0]?.blob ?? "");
    await expect(ask()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: "ARTIFACT_CORRUPT" });
  });
});
