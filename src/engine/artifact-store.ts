import { createHash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import type { Artifact, ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { UploadArtifactRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { metadataOf, reasonOf } from "../client/reason.ts";
import type { Ask } from "./ask.ts";
import { type Content, frameBytes } from "./artifact-content.ts";
import { downloadBytes } from "./artifact-download.ts";
import { HandlerError } from "./handler-error.ts";
import { createStallWatch, type StallWatch } from "./stall-watch.ts";

/** What a run says about an artifact. */
export type SpecInit = Omit<MessageInitShape<typeof ArtifactSpecSchema>, "$typeName" | "leaseToken">;

/**
 * The artifacts of a run under a lease; calls are repeated until they get through. What the server refuses is thrown as a
 * HandlerError with the server's reason as its code, not retryable; the lease's reason once that is over.
 */
export interface ArtifactStore {
  /**
   * Stores an artifact once: the one on record where an earlier try or attempt with this request_id has stored it, whatever its
   * bytes were. Throws what the stream throws that the bytes come from, and a HandlerError ARTIFACT_STREAM_READ, retryable, when
   * the upload broke off and that can not be read again.
   */
  put(requestId: string, spec: SpecInit, content: Content): Promise<Artifact>;
  /** All bytes of an artifact, checked. */
  get(artifactId: string): Promise<Uint8Array>;
}

/** What the store of a run needs. */
export interface ArtifactStoreOptions {
  /** Who stores: the worker, of which the server knows by the lease on whose behalf it works. */
  readonly artifacts: SignalboxClient["artifacts"];
  /** Who reads: the worker on behalf of the run. */
  readonly reader: SignalboxClient["artifacts"];
  readonly leaseToken: string;
  readonly ask: Ask;
}

/** How long the server may take for its turn in a transfer. */
const patienceMs = 60_000;

/** The artifacts of a run under its lease. */
export function createArtifactStore({ artifacts, reader, leaseToken, ask }: ArtifactStoreOptions): ArtifactStore {
  async function upload(requestId: string, spec: SpecInit, content: Content, { signal }: CallOptions) {
    using watch = createStallWatch(patienceMs);
    const header = { requestId, spec: { ...spec, leaseToken } };
    const frames = content.frames();
    return await artifacts.uploadArtifact(messages(header, frames, watch), { signal: watch.or(signal) });
  }

  async function create(requestId: string, spec: SpecInit, data: Uint8Array, { signal }: CallOptions) {
    const request = { requestId, spec: { ...spec, leaseToken }, data };
    return artifacts.createArtifact(request, { signal, timeoutMs: patienceMs });
  }

  /** The artifact; what the stream of its bytes has thrown; or the id of the one that was stored first. */
  async function attempt(requestId: string, spec: SpecInit, content: Content, call: CallOptions): Promise<Stored> {
    const { bytes } = content;
    const isSmall = bytes !== undefined && bytes.length <= frameBytes;
    try {
      const { artifact } = await (isSmall
        ? create(requestId, spec, bytes, call)
        : upload(requestId, spec, content, call));
      return { artifact };
    } catch (error) {
      const failure = content.failure();
      if (failure !== undefined) return { failure };
      const { artifact_id: first } = metadataOf(error);
      if (reasonOf(error) !== "REQUEST_ID_REUSED" || first === undefined) throw error;
      return { first };
    }
  }

  return {
    async put(requestId, spec, content) {
      const full = { ...spec, ...measured(content) };
      const stored = await ask((call) => attempt(requestId, full, content, call));
      if ("failure" in stored) throw stored.failure.thrown;
      if (!("first" in stored)) return present(stored.artifact);
      const { first: artifactId } = stored;
      const first = present((await ask((call) => reader.getArtifact({ artifactId }, call))).artifact);
      // Only a worker of the run can say which step an artifact is of; anybody may have made a request of this id.
      if (first.stepId === spec.stepId) return first;
      const message = `somebody else has stored ${artifactId} with request_id ${requestId}`;
      throw new HandlerError("REQUEST_ID_REUSED", message, { retryable: false });
    },
    get: (artifactId) => ask((call) => downloadBytes(reader, artifactId, call)),
  };
}

type Stored =
  | { readonly artifact: Artifact | undefined }
  | { readonly failure: { readonly thrown: unknown } }
  | { readonly first: string };

/** The header, then the bytes. */
async function* messages(
  header: { readonly requestId: string; readonly spec: MessageInitShape<typeof ArtifactSpecSchema> },
  frames: AsyncGenerator<Uint8Array>,
  watch: StallWatch,
): AsyncGenerator<MessageInitShape<typeof UploadArtifactRequestSchema>> {
  yield { frame: { case: "header", value: header } };
  for (;;) {
    watch.rest();
    const next = await frames.next();
    watch.await();
    if (next.done) return;
    yield { frame: { case: "data", value: next.value } };
  }
}

/** What is known of the bytes before they are sent, so that the server refuses at once what it would not keep. */
function measured({ bytes }: Content): Pick<SpecInit, "sha256" | "sizeBytes"> {
  if (bytes === undefined) return {};
  return { sha256: createHash("sha256").update(bytes).digest("hex"), sizeBytes: BigInt(bytes.length) };
}

function present(artifact: Artifact | undefined): Artifact {
  if (artifact === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer has no artifact");
  return artifact;
}
