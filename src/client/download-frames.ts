import type { DownloadArtifactResponse, DownloadHeader } from "../../gen/signalbox/v1/artifact_service_pb.ts";

/** A download under way. */
export interface Frames {
  readonly header: DownloadHeader;
  /** The bytes that follow it. */
  readonly data: AsyncGenerator<Uint8Array>;
}

/** Reads the header of a download. Whoever opened the call ends it, also when `data` is not read to its end. */
export async function openFrames(responses: AsyncIterable<DownloadArtifactResponse>): Promise<Frames> {
  const iterator = responses[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.frame.case !== "header") throw new Error("the download has no header");
  return { header: first.value.frame.value, data: dataOf(iterator) };
}

async function* dataOf(iterator: AsyncIterator<DownloadArtifactResponse>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = await iterator.next();
    if (next.done === true) return;
    if (next.value.frame.case === "data") yield next.value.frame.value;
  }
}
