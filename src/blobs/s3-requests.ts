import { S3mini, S3ServiceError } from "s3mini";
import { SignalboxError } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";

/** How long a request may take until its answer begins. */
const answerTimeoutMs = 60_000;
/** How often a request is sent; the pause after the first is 100 ms, then twice as long each time. */
const sendings = 3;
const sliceBytes = 64 * 1024;

/** A bucket of an S3-compatible service. */
export interface S3Bucket {
  /** `https://host:port`, without a path. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A client for the requests of one operation, which end with its signal. */
export function s3Client({ endpoint, bucket, ...rest }: S3Bucket, signal?: AbortSignal): S3mini {
  return new S3mini({ ...rest, endpoint: `${endpoint}/${bucket}`, fetch: (input, init) => send(input, init, signal) });
}

/** Sends a request, again where the service is busy and it does no harm: the answer to a POST may be lost, its effect not. */
async function send(
  input: string | URL | Request,
  init: RequestInit | undefined,
  signal: AbortSignal | undefined,
): Promise<Response> {
  for (let sending = 1; ; sending++) {
    const isLast = sending === sendings || init?.method === "POST";
    try {
      const response = await answered(input, init, signal);
      if (isLast || (response.status < 500 && response.status !== 429)) return response;
      await response.body?.cancel();
    } catch (error) {
      if (isLast || signal?.aborted === true) throw error;
    }
    await sleep(50 * 2 ** sending, signal);
  }
}

/** The timeout is for the beginning of the answer: how fast its body is read is the reader's business. */
async function answered(
  input: string | URL | Request,
  init: RequestInit | undefined,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${answerTimeoutMs} ms`)), answerTimeoutMs);
  try {
    const either = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
    return await fetch(input, { ...init, ...streamed(init?.body), signal: either });
  } finally {
    clearTimeout(timer);
  }
}

/** The body as a stream, its length in the headers already: of bytes, fetch would make a copy. */
function streamed(body: RequestInit["body"]): RequestInit {
  if (!(body instanceof Uint8Array) || body.length === 0) return {};
  return { body: ReadableStream.from(slices(body)), duplex: "half" };
}

function* slices(bytes: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}

/** Runs a request; what goes wrong is STORE_UNAVAILABLE, except the signal's own reason. */
export async function s3Guarded<T>(signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    signal?.throwIfAborted();
    throw s3Unavailable(error);
  }
}

/** The status of a refusal of the service; undefined for anything else. */
export function s3Status(error: unknown): number | undefined {
  const cause = error instanceof Error && error.cause instanceof S3ServiceError ? error.cause : error;
  return cause instanceof S3ServiceError ? cause.status : undefined;
}

/** Any trouble with the service as STORE_UNAVAILABLE, with the way out for whoever runs the server. */
export function s3Unavailable(cause: unknown): SignalboxError {
  if (cause instanceof SignalboxError) return cause;
  return new SignalboxError("STORE_UNAVAILABLE", `the artifact store (S3) ${problemOf(cause)}`, {}, cause);
}

/** True when the service says that the bucket is not there. */
export function isBucketGone(error: unknown): boolean {
  return error instanceof S3ServiceError && error.serviceCode === "NoSuchBucket";
}

function problemOf(cause: unknown): string {
  if (isBucketGone(cause)) return "has no such bucket; create it, or correct SIGNALBOX_S3_BUCKET";
  if (!(cause instanceof S3ServiceError)) return "did not answer, repeat with backoff; is SIGNALBOX_S3_ENDPOINT right?";
  const { status, serviceCode = "Unknown" } = cause;
  if (status === 401 || status === 403) {
    return `refused the credentials (${status} ${serviceCode}); check SIGNALBOX_S3_ACCESS_KEY_ID, SIGNALBOX_S3_SECRET_ACCESS_KEY and their rights on the bucket`;
  }
  if (status === 507) return "is full; give its bucket more room, or remove artifacts";
  return `refused it (${status} ${serviceCode}), repeat with backoff; the server's log says why`;
}
