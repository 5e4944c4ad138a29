import { create } from "@bufbuild/protobuf";
import { AccessMethod } from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  type DownloadArtifactRequest,
  type DownloadArtifactResponse,
  DownloadArtifactResponseSchema,
  type DownloadHeader,
  DownloadHeaderSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { release } from "../kernel/release.ts";
import type { Contents } from "./contents.ts";
import type { KnownArtifact } from "./state.ts";

/** What somebody wants to download. */
export interface DownloadWish {
  readonly artifactId: string;
  readonly method: AccessMethod;
  /** The first byte that is wanted. */
  readonly offset: bigint;
  /** Where the caller connected from; empty when that is not known. */
  readonly remoteAddress: string;
}

/** What downloads need. */
export interface DownloadsDeps {
  /**
   * Answers the artifact when the caller may read its bytes now; it is in the access log by then. ARTIFACT_NOT_FOUND,
   * ARTIFACT_EXPIRED, PERMISSION_DENIED, RATE_LIMITED.
   */
  readonly access: { require(call: Call, wish: DownloadWish): Promise<KnownArtifact> };
  readonly contents: Contents;
}

/** Serves DownloadArtifact. `remoteAddress` is where the caller connected from; empty when that is not known. */
export type Download = (
  call: Call,
  request: DownloadArtifactRequest,
  remoteAddress?: string,
) => AsyncIterable<DownloadArtifactResponse>;

interface Opened {
  readonly header: DownloadHeader;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/**
 * Downloads to whom access is granted: the header in the first message, then the bytes, as fast as they are read and no faster. A
 * message is good until the next one is asked for: it was serialized by then, and its memory is given back.
 * Errors as artifact_service.proto lists them.
 */
export function createDownload({ access, contents }: DownloadsDeps): Download {
  async function openPlain(known: KnownArtifact, offset: bigint, signal: AbortSignal): Promise<Opened> {
    const { artifact } = known;
    if (offset > artifact.sizeBytes) {
      const message = `offset is ${offset}, but ${artifact.artifactId} has ${artifact.sizeBytes} bytes`;
      throw new SignalboxError("INVALID_REQUEST", message);
    }
    const range = { from: Number(offset), to: Number(artifact.sizeBytes) };
    const bytes = await contents.open(known, range, signal);
    return { header: create(DownloadHeaderSchema, { artifact }), bytes };
  }

  async function openSealed(known: KnownArtifact, offset: bigint, signal: AbortSignal): Promise<Opened> {
    if (offset > 0n) {
      throw new SignalboxError("INVALID_REQUEST", "offset must be 0 with sealed: a recipient opens the whole");
    }
    const { artifact, parts } = known;
    const { wrappedKey, bytes } = await contents.openSealed(known, signal);
    return { header: create(DownloadHeaderSchema, { artifact, sealed: { wrappedKey, parts: [...parts] } }), bytes };
  }

  return async function* download(call, { artifactId, offset, sealed }, remoteAddress = "") {
    const method = AccessMethod.DOWNLOAD;
    const known = await access.require(call, { artifactId, method, offset, remoteAddress });
    const open = sealed ? openSealed : openPlain;
    const { header, bytes } = await open(known, offset, call.signal);
    await using source = closing(bytes);
    yield create(DownloadArtifactResponseSchema, { frame: { case: "header", value: header } });
    for await (const value of source.items) {
      yield create(DownloadArtifactResponseSchema, { frame: { case: "data", value } });
      release(value);
    }
  };
}

/** Items whose source is closed also when nobody has begun to read them. */
function closing<T>(source: AsyncIterable<T>): { items: AsyncIterable<T> } & AsyncDisposable {
  const iterator = source[Symbol.asyncIterator]();
  return {
    items: { [Symbol.asyncIterator]: () => iterator },
    [Symbol.asyncDispose]: async () => void (await iterator.return?.()),
  };
}
