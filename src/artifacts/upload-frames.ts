import type { UploadArtifactRequest, UploadHeader } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { requireSize } from "../kernel/limits.ts";

/** An upload as it comes over the network. */
export interface UploadFrames {
  readonly header: UploadHeader;
  /** Everything behind the header, read no further ahead than its reader; closes the stream when that leaves. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** The most bytes in one message. */
const maxFrameBytes = 2 * 1024 * 1024;

/**
 * The header of an upload and what follows it. INVALID_REQUEST for a stream without a header, with two, or with bytes before
 * it, PAYLOAD_TOO_LARGE for a message of more than 2 MiB; what comes behind the header throws when its turn comes.
 */
export async function uploadFrames(messages: AsyncIterable<UploadArtifactRequest>): Promise<UploadFrames> {
  const iterator = messages[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true) throw invalid("the stream is empty; send the header first, then the bytes");
  const { frame } = first.value;
  if (frame.case !== "header") {
    await iterator.return?.();
    throw invalid(`the first message has ${frame.case ?? "nothing"} instead of the header; send the header first`);
  }
  return { header: frame.value, bytes: dataFrames(iterator) };
}

async function* dataFrames(iterator: AsyncIterator<UploadArtifactRequest>): AsyncGenerator<Uint8Array> {
  let ended = false;
  try {
    for (;;) {
      const result = await iterator.next();
      ended = result.done === true;
      if (result.done === true) return;
      yield dataOf(result.value);
    }
  } finally {
    if (!ended) await iterator.return?.();
  }
}

function dataOf({ frame }: UploadArtifactRequest): Uint8Array {
  switch (frame.case) {
    case "data":
      requireSize("data", frame.value.length, maxFrameBytes, "send it in several messages");
      return frame.value;
    case "header":
      throw invalid("there is a second header; send one header, then the bytes only");
    case undefined:
      throw invalid("a message has neither header nor data; send bytes after the header");
  }
}

function invalid(message: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", message);
}
