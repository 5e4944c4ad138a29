import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import type { Artifact, ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { ArtifactUpload } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { SignalboxClient } from "./clients.ts";
import { type RepeatOptions, repeated } from "./repeat.ts";

/** What is said about a file; how large it is, its bytes say. */
export type UploadSpec = Omit<MessageInitShape<typeof ArtifactSpecSchema>, "$typeName" | "sizeBytes">;

/** How to upload. */
export interface UploadOptions extends RepeatOptions {
  /**
   * Makes the upload repeatable: the same one again goes on where it broke off, within 24 hours, and answers the same artifact once
   * it is there. Give spec.sha256 with it, or a file that has changed in between may become a mixture of both. Default a new id.
   */
  readonly requestId?: string | undefined;
  /** Chunks that are on their way at the same time, default 4. */
  readonly parallel?: number | undefined;
  /** Told how many of the bytes the server has, at the start and after each chunk. */
  readonly onProgress?: ((storedBytes: number, sizeBytes: number) => void) | undefined;
}

/** What CreateArtifact takes. */
const maxUnaryBytes = 1024 * 1024;
const callTimeoutMs = 60_000;

/**
 * Stores a file and returns its artifact; the first one, as it is now, when the request_id was used before. Up to 1 MiB in one call,
 * else in chunks, by unary calls only, so that browsers can do it; a blob is read chunk by chunk. Calls are repeated while the server
 * is away. Throws what the contract says of CreateArtifact and CreateUpload, and what reading the blob throws.
 */
export async function uploadArtifact(
  client: Pick<SignalboxClient, "artifacts">,
  content: Blob | Uint8Array,
  spec: UploadSpec,
  options: UploadOptions = {},
): Promise<Artifact> {
  const { requestId = newRequestId(), signal, onProgress } = options;
  const blob = content instanceof Blob ? content : new Blob([new Uint8Array(content)]);
  const request = { requestId, spec: { ...spec, sizeBytes: BigInt(blob.size) } };
  if (blob.size > maxUnaryBytes) return uploadChunks(client, blob, request, options);
  onProgress?.(0, blob.size);
  const data = await bytesOf(blob);
  const call = { signal, timeoutMs: callTimeoutMs };
  const { artifact } = await repeated(() => client.artifacts.createArtifact({ ...request, data }, call), options);
  onProgress?.(blob.size, blob.size);
  return present(artifact);
}

async function uploadChunks(
  { artifacts }: Pick<SignalboxClient, "artifacts">,
  blob: Blob,
  request: { readonly requestId: string; readonly spec: UploadSpec },
  { parallel = 4, signal, onProgress, onRetry }: UploadOptions,
): Promise<Artifact> {
  // One chunk that fails for good ends the others.
  const stop = new AbortController();
  const any = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const call: CallOptions = { signal: any, timeoutMs: callTimeoutMs };
  const ask = <T>(asked: () => Promise<T>) => repeated(asked, { signal: any, onRetry });

  const { upload } = await ask(() => artifacts.createUpload(request, call));
  const { uploadId, chunkSizeBytes } = present(upload);
  const missing = missingChunks(present(upload));
  let storedBytes = blob.size - missing.reduce((sum, index) => sum + lengthOf(index), 0);
  onProgress?.(storedBytes, blob.size);

  function lengthOf(index: number): number {
    return Math.min(chunkSizeBytes, blob.size - index * chunkSizeBytes);
  }
  async function send(index: number): Promise<void> {
    const begin = index * chunkSizeBytes;
    const data = await bytesOf(blob.slice(begin, begin + chunkSizeBytes));
    const sha256 = await hexDigest(data);
    await ask(() => artifacts.uploadChunk({ uploadId, index, data, sha256 }, call));
    storedBytes += data.length;
    onProgress?.(storedBytes, blob.size);
  }
  const next = missing.values();
  const senders = Array.from({ length: Math.max(1, parallel) }, async () => {
    for (const index of next) {
      if (any.aborted) return;
      await send(index);
    }
  });
  try {
    await Promise.all(senders);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(senders);
    throw error;
  }
  return present((await ask(() => artifacts.finishUpload({ uploadId }, call))).artifact);
}

function missingChunks({ chunkCount, receivedChunks }: ArtifactUpload): number[] {
  const received = new Set(receivedChunks);
  return Array.from({ length: chunkCount }, (_, index) => index).filter((index) => !received.has(index));
}

async function bytesOf(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await blob.arrayBuffer());
}

/** SHA-256 in hex; empty, which means no check, on pages without a secure context: browsers have no digests there. */
async function hexDigest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const subtle: SubtleCrypto | undefined = crypto.subtle;
  if (subtle === undefined) return "";
  return hex(new Uint8Array(await subtle.digest("SHA-256", bytes)));
}

function newRequestId(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function present<T>(answer: T | undefined): T {
  if (answer === undefined) throw new Error("the server's answer is empty");
  return answer;
}
