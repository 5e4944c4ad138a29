import type { Logger } from "pino";
import { type S3mini, S3ServiceError, type UploadPart } from "s3mini";
import { release } from "../kernel/release.ts";
import { isBlobName, requireBlobName } from "./blob-name.ts";
import { BlobMissingError, type BlobStore, type ByteRange, type StoredBlob } from "./blob-store.ts";
import { requireRange } from "./byte-range.ts";
import { regroup, untilAborted } from "./pieces.ts";
import { isBucketGone, type S3Bucket, s3Client, s3Guarded, s3Status, s3Unavailable } from "./s3-requests.ts";

/** The least that S3 takes as a part, and so the most that an upload keeps in memory. 10,000 of them are 48 GiB. */
const partBytes = 5 * 1024 * 1024;
/** The most that S3 lists at once. */
const listedAtOnce = 1_000;
const contentType = "application/octet-stream";

/** The bucket, which must be there and belong to this installation alone. */
export interface S3BlobsOptions extends S3Bucket {
  readonly log: Logger;
}

/**
 * A store in a bucket of an S3-compatible service. A blob of up to 5 MiB is one request, a larger one a multipart upload that
 * is completed or aborted. STORE_UNAVAILABLE when the bucket can not be used.
 */
export async function openS3Blobs({ log, ...bucket }: S3BlobsOptions): Promise<BlobStore> {
  // Not asked for by HEAD, whose refusals have no words; and no blob's name begins like this.
  await listPage(bucket, ".", undefined, undefined);
  return {
    kind: "s3",
    async put(name, bytes, signal) {
      requireBlobName(name);
      await put(bucket, log, name, bytes, signal);
    },
    read(name, range, signal) {
      requireBlobName(name);
      requireRange(range);
      return read(bucket, name, range, signal);
    },
    async remove(name) {
      requireBlobName(name);
      await s3Guarded(undefined, () => s3Client(bucket).deleteObject(name));
    },
    list: (signal) => list(bucket, signal),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** A multipart upload that is under way. */
interface Upload {
  readonly id: string;
  readonly parts: UploadPart[];
}

async function put(
  bucket: S3Bucket,
  log: Logger,
  name: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const client = s3Client(bucket, signal);
  const putWhole = (whole: Uint8Array) => s3Guarded(signal, () => client.putObject(name, whole, contentType));
  const begin = () => s3Guarded(signal, () => client.getMultipartUploadId(name, contentType));
  let upload: Upload | undefined;
  try {
    for await (const part of regroup(untilAborted(bytes, signal), partBytes, 1)) {
      if (upload === undefined && part.length < partBytes) return void (await putWhole(part));
      const { id, parts } = (upload ??= { id: await begin(), parts: [] });
      parts.push(await s3Guarded(signal, () => client.uploadPart(name, id, part, parts.length + 1)));
    }
    if (upload === undefined) return void (await putWhole(new Uint8Array(0)));
    await complete(client, name, upload, signal);
  } catch (error) {
    await takeBack(s3Client(bucket), log, name, upload);
    throw error;
  }
}

/** S3 may answer 200 and then, in the body, that it did not work: only an ETag says that the blob is there. */
async function complete(client: S3mini, name: string, upload: Upload, signal: AbortSignal | undefined): Promise<void> {
  const { etag } = await s3Guarded(signal, () => client.completeMultipartUpload(name, upload.id, upload.parts));
  if (!etag) throw s3Unavailable(new Error("the service did not put the parts together"));
}

/** Ends the upload and removes the blob: the answer that it is there may have been lost. */
async function takeBack(client: S3mini, log: Logger, name: string, upload: Upload | undefined): Promise<void> {
  try {
    if (upload !== undefined) await client.abortMultipartUpload(name, upload.id);
  } catch (error) {
    log.warn({ err: error, blob: name }, "a broken multipart upload stays behind");
  }
  try {
    await client.deleteObject(name);
  } catch (error) {
    log.warn({ err: error, blob: name }, "a broken blob may stay behind");
  }
}

async function* read(
  bucket: S3Bucket,
  name: string,
  { from, to }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const client = s3Client(bucket, signal);
  if (from === to) {
    const sizeBytes = await ask(name, signal, () => client.getContentLength(name));
    if (sizeBytes < to) throw tooShort(name, to);
    return;
  }
  const { headers, body } = await ask(name, signal, () => client.getObjectRaw(name, false, from, to));
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(headers.get("content-range") ?? "") ?? [];
  if (body === null || Number(start) !== from || Number(end) < to - 1) {
    await body?.cancel();
    // Only a blob that ends before the range does is answered with less.
    throw Number(start) === from ? tooShort(name, to) : s3Unavailable(new Error("the service does not know ranges"));
  }
  let left = to - from;
  try {
    for await (const piece of body as AsyncIterable<Uint8Array>) {
      // Some services answer with more than was asked for.
      const { length } = piece;
      yield piece.subarray(0, left);
      release(piece);
      left -= length;
      if (left <= 0) return;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw s3Unavailable(error);
  }
  throw s3Unavailable(new Error(`the answer broke off ${left} bytes before its end`));
}

/** Runs a request for a blob; a refusal because there is none, or it is too short, becomes BlobMissingError. */
async function ask<T>(name: string, signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const status = s3Status(error);
    if (status === 416 || (status === 404 && !isBucketGone(error))) {
      throw new BlobMissingError(`there is no blob ${name}, or not so much of it`, { cause: error });
    }
    signal?.throwIfAborted();
    throw s3Unavailable(error);
  }
}

function tooShort(name: string, to: number): BlobMissingError {
  return new BlobMissingError(`blob ${name} has no byte ${to - 1}`);
}

async function* list(bucket: S3Bucket, signal: AbortSignal | undefined): AsyncGenerator<StoredBlob, void, void> {
  let token: string | undefined;
  do {
    const page = await listPage(bucket, "", token, signal);
    for (const { Key: name, Size: sizeBytes, LastModified: storeTime } of page.objects ?? []) {
      // What others laid here is not ours to name.
      if (isBlobName(name)) yield { name, sizeBytes, storeTime };
    }
    token = page.nextContinuationToken;
  } while (token !== undefined);
}

async function listPage(bucket: S3Bucket, prefix: string, token: string | undefined, signal: AbortSignal | undefined) {
  const client = s3Client(bucket, signal);
  const page = await s3Guarded(signal, () => client.listObjectsPaged("/", prefix, listedAtOnce, token));
  if (page) return page;
  throw s3Unavailable(new S3ServiceError("no bucket", 404, "NoSuchBucket"));
}
