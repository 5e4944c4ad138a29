import { createHash, randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Artifact, ArtifactAccess, ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { headPosition } from "./subscribed.ts";

type Spec = Omit<MessageInitShape<typeof ArtifactSpecSchema>, "$typeName" | "$unknown">;

/** SHA-256 in hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** So many bytes that no compression makes fewer. */
export function someBytes(count: number): Buffer {
  return randomBytes(count);
}

/** Stores a small file. */
export async function stored(client: SignalboxClient, data: Uint8Array, spec: Partial<Spec> = {}): Promise<Artifact> {
  const { artifact } = await client.artifacts.createArtifact({ spec: { name: "a.bin", ...spec }, data });
  if (artifact === undefined) throw new Error("the answer has no artifact");
  return artifact;
}

/** The bytes of an artifact from `offset` on, unchecked. */
export async function downloaded(client: SignalboxClient, artifactId: string, offset = 0n): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { frame } of client.artifacts.downloadArtifact({ artifactId, offset })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  return Buffer.concat(pieces);
}

/** The lines of the access log about an artifact, newest first. */
export async function accessesTo(client: SignalboxClient, artifactId: string): Promise<ArtifactAccess[]> {
  const minPosition = await headPosition(client);
  return (await client.artifacts.listAccess({ artifactId, minPosition, pageSize: 200 })).accesses;
}

/** Where a link leads now: a signed URL. */
export async function followed(link: string): Promise<string> {
  const response = await fetch(link, { redirect: "manual" });
  const location = response.headers.get("location");
  if (location === null) throw new Error(`the link answered ${response.status}: ${await response.text()}`);
  return new URL(location, link).href;
}

/** Stores a file as a stream of frames of at most `frameBytes` bytes. */
export async function streamed(
  client: SignalboxClient,
  bytes: Uint8Array,
  spec: Partial<Spec> = {},
  frameBytes = 1_000_000,
): Promise<Artifact> {
  async function* frames() {
    yield { frame: { case: "header", value: { spec: { name: "a.bin", ...spec } } } } as const;
    for (let at = 0; at < bytes.length; at += frameBytes) {
      yield { frame: { case: "data", value: bytes.subarray(at, at + frameBytes) } } as const;
    }
  }
  const { artifact } = await client.artifacts.uploadArtifact(frames());
  if (artifact === undefined) throw new Error("the answer has no artifact");
  return artifact;
}

/** Begins an upload in chunks; returns its id, its chunks, and what sends one of them. */
export async function begun(client: SignalboxClient, bytes: Uint8Array, spec: Partial<Spec> = {}) {
  const request = { spec: { name: "a.bin", ...spec, sizeBytes: BigInt(bytes.length) } };
  const { upload } = await client.artifacts.createUpload(request);
  if (upload === undefined) throw new Error("the answer has no upload");
  const { uploadId, chunkCount, chunkSizeBytes } = upload;
  const chunk = (index: number) => bytes.subarray(index * chunkSizeBytes, (index + 1) * chunkSizeBytes);
  return {
    uploadId,
    indexes: Array.from({ length: chunkCount }, (_, index) => index),
    async send(index: number, by = client) {
      const data = chunk(index);
      await by.artifacts.uploadChunk({ uploadId, index, data, sha256: sha256(data) });
    },
  };
}

/** Stores a file in chunks that come in random order, some of them twice, by one client after the other. */
export async function inChunks(
  clients: readonly SignalboxClient[],
  bytes: Uint8Array,
  spec: Partial<Spec> = {},
): Promise<Artifact> {
  const [client] = clients;
  if (client === undefined) throw new Error("no client");
  const { uploadId, indexes, send } = await begun(client, bytes, spec);
  const order = [...indexes, ...indexes.slice(0, 3)].toSorted(() => Math.random() - 0.5);
  for (const [turn, index] of order.entries()) await send(index, clients[turn % clients.length]);
  const { artifact } = await client.artifacts.finishUpload({ uploadId, sha256: sha256(bytes) });
  if (artifact === undefined) throw new Error("the answer has no artifact");
  return artifact;
}

/** The zip with everything about a run. */
export async function bundled(client: SignalboxClient, runId: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(client.artifacts.downloadBundle({ runId }), ({ data }) => data));
}

/** A link to an artifact. */
export async function linkTo(client: SignalboxClient, artifactId: string): Promise<{ url: string; linkId: string }> {
  const { url, link } = await client.artifacts.createDownloadUrl({ artifactId });
  return { url, linkId: link?.linkId ?? "" };
}
