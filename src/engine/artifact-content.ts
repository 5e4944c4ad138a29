import { HandlerError } from "./handler-error.ts";

/**
 * The bytes of an artifact. A string is taken as UTF-8. A stream is read once: when its upload breaks off, the attempt fails, and
 * the next one gives another. A function opens a stream anew for each try, so that an upload that broke off is repeated.
 */
export type ArtifactContent = string | Uint8Array | AsyncIterable<Uint8Array> | (() => AsyncIterable<Uint8Array>);

/** Bytes on their way to the server. Disposing closes the stream that they come from. */
export interface Content extends Disposable {
  /** All of them, when they are at hand: given as such, or fewer than a frame. Undefined for a longer stream. */
  readonly bytes: Uint8Array | undefined;
  /**
   * From the beginning, in frames of `frameBytes`, the last one shorter. Throws a HandlerError, retryable, when they can not be
   * read again.
   */
  frames(): AsyncGenerator<Uint8Array>;
  /** What the stream has thrown; undefined while it has not. */
  failure(): { readonly thrown: unknown } | undefined;
}

/** The size of the messages of an upload. The contract has room for twice as much. */
export const frameBytes = 1024 * 1024;

/**
 * Begins to read: a stream that ends within a frame is read to its end. Once the signal has aborted, no stream is read on. Throws what the stream throws, and a HandlerError
 * ARTIFACT_CONTENT_INVALID for what is none.
 */
export async function openContent(content: ArtifactContent, signal?: AbortSignal): Promise<Content> {
  if (typeof content === "string") return atHand(bytesOf(content));
  if (content instanceof Uint8Array) return atHand(content);
  return openStream(streamsOf(content), signal);
}

async function openStream(open: () => AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<Content> {
  let failed: { readonly thrown: unknown } | undefined;
  let reading: AsyncGenerator<Uint8Array> | undefined;

  async function* watched(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* framed(pieces, signal);
    } catch (thrown) {
      failed = { thrown };
      throw thrown;
    }
  }

  function close(): void {
    // What a stream has to say about its end is of no use to anybody any more.
    reading?.return(undefined).catch(() => {});
  }

  function begin(): AsyncGenerator<Uint8Array> {
    close();
    reading = watched(open());
    return reading;
  }

  const begun = begin();
  const first = await begun.next();
  if (first.done) return atHand(new Uint8Array());
  if (first.value.length < frameBytes) return atHand(first.value);
  let unread: AsyncGenerator<Uint8Array> | undefined = from(first.value, begun);
  return {
    bytes: undefined,
    failure: () => failed,
    frames() {
      const next = unread ?? begin();
      unread = undefined;
      return next;
    },
    [Symbol.dispose]: close,
  };
}

function atHand(bytes: Uint8Array): Content {
  return {
    bytes,
    failure: () => undefined,
    async *frames() {
      for (let at = 0; at < bytes.length; at += frameBytes) yield bytes.subarray(at, at + frameBytes);
    },
    [Symbol.dispose]: () => {},
  };
}

/** Opens the stream; the second time only where that gives another one. */
function streamsOf(content: unknown): () => AsyncIterable<Uint8Array> {
  if (typeof content === "function") return () => requireStream((content as () => unknown)());
  const stream = requireStream(content);
  let isRead = false;
  return () => {
    if (isRead) throw new HandlerError("ARTIFACT_STREAM_READ", brokenOff);
    isRead = true;
    return stream;
  };
}

const brokenOff =
  "the upload broke off and its stream can not be read again; give a function that opens the stream, and the upload is repeated at once";

async function* framed(pieces: AsyncIterable<unknown>, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  let frame = new Uint8Array(frameBytes);
  let used = 0;
  for await (const piece of pieces) {
    signal?.throwIfAborted();
    if (!(piece instanceof Uint8Array)) throw invalid(`its stream gave ${typed(piece)}, not a Uint8Array`);
    for (let at = 0; at < piece.length;) {
      const taken = piece.subarray(at, at + frameBytes - used);
      frame.set(taken, used);
      used += taken.length;
      at += taken.length;
      if (used < frameBytes) continue;
      yield frame;
      frame = new Uint8Array(frameBytes);
      used = 0;
    }
  }
  if (used > 0) yield frame.subarray(0, used);
}

async function* from(first: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

function bytesOf(text: string): Uint8Array {
  if (!text.isWellFormed()) throw invalid("it has half of a surrogate pair, which is no text");
  return new TextEncoder().encode(text);
}

function requireStream(content: unknown): AsyncIterable<Uint8Array> {
  if (typeof content === "object" && content !== null && Symbol.asyncIterator in content) {
    return content as AsyncIterable<Uint8Array>;
  }
  throw invalid(`it is ${typed(content)}; give a string, a Uint8Array, a stream of them or a function that opens one`);
}

function typed(x: unknown): string {
  return x === undefined || x === null ? String(x) : `something of type ${typeof x}`;
}

function invalid(problem: string): HandlerError {
  const message = `the content of the artifact can not be stored: ${problem}`;
  return new HandlerError("ARTIFACT_CONTENT_INVALID", message, { retryable: false });
}
