import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import { createCheck } from "./artifact-check.ts";
import type { SignalboxClient } from "./clients.ts";
import { type Frames, openFrames } from "./download-frames.ts";
import { createPatience, type RepeatOptions } from "./repeat.ts";

/** How to download. */
export interface DownloadOptions extends RepeatOptions {
  /** The bytes that an earlier download got, from the beginning: only those after them are asked for. Default none. */
  readonly have?: Blob | undefined;
}

/**
 * An artifact's bytes, those in `have` left out. When the connection breaks, it goes on where it stood. Throws what the contract says
 * of DownloadArtifact and, after the last byte, ArtifactMismatchError when all of them together are not those on record: what
 * was written by then is not to be used.
 */
export async function* downloadArtifact(
  { artifacts }: Pick<SignalboxClient, "artifacts">,
  artifactId: string,
  { have = new Blob(), signal, onRetry }: DownloadOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const patience = createPatience({ signal, onRetry });
  const check = createCheck();
  for await (const piece of have.stream()) check.add(piece);
  let offset = BigInt(have.size);
  let artifact: Artifact | undefined;
  for (let isComplete = false; !isComplete;) {
    const stop = new AbortController();
    const call = { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) };
    try {
      const frames: Frames = await openFrames(artifacts.downloadArtifact({ artifactId, offset }, call));
      ({ artifact } = frames.header);
      for await (const piece of frames.data) {
        patience.reset();
        check.add(piece);
        offset += BigInt(piece.length);
        yield piece;
      }
      isComplete = true;
    } catch (error) {
      await patience.after(error);
    } finally {
      stop.abort();
    }
  }
  if (artifact === undefined) throw new Error("the header of the download has no artifact");
  check.end(artifact);
}
