import type { ArtifactSpec } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { requireSize } from "../kernel/limits.ts";
import type { Admitted, ArtifactAdmission } from "./admission.ts";
import { untilAborted } from "../blobs/pieces.ts";
import { createMeter, measure } from "./meter.ts";
import { putSealed } from "./sealed-parts.ts";
import type { StoredWhole } from "./sessions.ts";
import { answerOf, newBytesRules, sameBytesRules, type Transfer } from "./transfer.ts";
import type { Uploads } from "./uploads.ts";

/** The largest file that CreateArtifact takes, in bytes. */
const maxSmallBytes = 1024 * 1024;

/** Uploads of a workspace that a server takes at the same time: each has a file open, and bytes on disk that no quota counts yet. */
const maxOpen = 200;
/** How long whoever is one too many is told to wait. */
const retryAfterMs = 1_000;

/** What uploads in one piece need. */
export interface StreamUploadsDeps {
  readonly admission: Pick<ArtifactAdmission, "admit">;
  readonly blobs: Pick<BlobStore, "put">;
  readonly transfer: Transfer;
}

/** Uploads whose bytes come in order and once: they go by, counted, hashed and sealed, into one blob. */
export function createStreamUploads(deps: StreamUploadsDeps): Pick<Uploads, "create" | "upload"> {
  const { admission, blobs, transfer } = deps;
  const open = new Map<string, number>();

  /** Takes one of the places of a workspace until it is disposed. RATE_LIMITED. */
  function takePlace(workspaceId: string): Disposable {
    const taken = open.get(workspaceId) ?? 0;
    if (taken >= maxOpen) throw tooManyOpen();
    open.set(workspaceId, taken + 1);
    return {
      [Symbol.dispose]() {
        const left = (open.get(workspaceId) ?? 0) - 1;
        if (left > 0) open.set(workspaceId, left);
        else open.delete(workspaceId);
      },
    };
  }

  async function store(call: Call, requestId: string, spec: ArtifactSpec, bytes: AsyncIterable<Uint8Array>) {
    const admitted = await admission.admit(call, spec, requestId);
    const incoming = untilAborted(bytes, call.signal);
    if (admitted.existing !== undefined) {
      const { sizeBytes, sha256 } = admitted.existing.artifact;
      await measure(incoming, sameBytesRules(admitted.artifactId, Number(sizeBytes), sha256));
      return answerOf(admitted.existing);
    }
    const { artifactId } = admitted;
    const { key, whole } = await transfer.begin(call, { artifactId, spec, nonce: "" });
    if (whole === undefined) return storeNew(call, admitted, key, incoming);
    await measure(incoming, sameBytesRules(artifactId, whole.sizeBytes, whole.sha256));
    return transfer.record(call, admitted, "", { whole, key });
  }

  async function storeNew(call: Call, admitted: Admitted, key: Uint8Array, bytes: AsyncIterable<Uint8Array>) {
    const { workspaceId, signal } = call;
    const { artifactId } = admitted;
    const meter = createMeter(newBytesRules(admitted));
    const blob = await putSealed(blobs, { workspaceId, artifactId }, key, meter.through(bytes), signal);
    const { sizeBytes, sha256 } = meter.measured();
    const whole: StoredWhole = { parts: [{ blob, sizeBytes }], sizeBytes, sha256 };
    return transfer.record(call, admitted, "", { whole, key });
  }

  return {
    async create(call, { requestId, spec, data }) {
      requireSize("data", data.length, maxSmallBytes, "use UploadArtifact for larger files");
      return store(call, requestId, requireSpec(spec), once(data));
    },
    async upload(call, { requestId, spec }, bytes) {
      using _place = takePlace(call.workspaceId);
      return await store(call, requestId, requireSpec(spec), bytes);
    },
  };
}

/** Throws INVALID_REQUEST when there is no spec. */
export function requireSpec(spec: ArtifactSpec | undefined): ArtifactSpec {
  if (spec === undefined) throw new SignalboxError("INVALID_REQUEST", "spec is missing: say what the artifact is");
  return spec;
}

function tooManyOpen(): SignalboxError {
  const message = `${maxOpen} uploads of the workspace are under way on this server; try again in ${retryAfterMs} ms`;
  return new SignalboxError("RATE_LIMITED", message, { retry_after_ms: String(retryAfterMs) });
}

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}
