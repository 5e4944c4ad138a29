import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import {
  type Artifact,
  ArtifactSchema,
  type ArtifactSpec,
  ArtifactStatus,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { type FakeLog, type FakeRun, refusal } from "./fake-run.ts";

/** What the fake has of an artifact. */
export interface FakeArtifact {
  readonly artifact: Artifact;
  readonly requestId: string;
  bytes: Uint8Array;
}

/** A store for artifacts, as the contract has it. */
export interface FakeArtifacts {
  /** In the order in which they were stored. */
  readonly all: FakeArtifact[];
  /** The largest that it takes, in bytes. */
  maxBytes: number;
  /** How many messages of an upload are read before `onMessage` is asked. */
  onMessage: (count: number) => void;
  routes(router: ConnectRouter): void;
}

/** Empty at first. `held` is the run under a lease, or throws. */
export function createFakeArtifacts(log: FakeLog, held: (leaseToken: string) => FakeRun): FakeArtifacts {
  const all: FakeArtifact[] = [];

  function put(requestId: string, spec: ArtifactSpec | undefined, bytes: Uint8Array) {
    const own = held(spec?.leaseToken ?? "");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (spec?.sha256 && spec.sha256 !== sha256) throw refusal("CHECKSUM_MISMATCH", "other bytes came");
    if (bytes.length > fake.maxBytes) throw refusal("PAYLOAD_TOO_LARGE", "an artifact has a limit");
    const first = all.find((each) => each.requestId === requestId);
    if (first !== undefined) {
      const { artifactId } = first.artifact;
      if (first.artifact.sha256 === sha256) return { artifact: first.artifact, position: log.next() };
      throw refusal("REQUEST_ID_REUSED", "the request has stored other bytes", { artifact_id: artifactId });
    }
    const { name = "", contentType, labels, visibility, purpose, stepId } = spec ?? {};
    const artifact = create(ArtifactSchema, {
      artifactId: `art_${all.length + 1}`,
      runId: own.run.runId,
      name,
      contentType,
      labels,
      visibility,
      purpose,
      stepId,
      sizeBytes: BigInt(bytes.length),
      sha256,
      status: ArtifactStatus.AVAILABLE,
      createTime: timestampFromMs(log.nowMs()),
    });
    all.push({ artifact, requestId, bytes });
    return { artifact, position: log.next() };
  }

  function byId(artifactId: string): FakeArtifact {
    const found = all.find(({ artifact }) => artifact.artifactId === artifactId);
    if (found === undefined) throw refusal("ARTIFACT_NOT_FOUND", "no such artifact");
    return found;
  }

  const fake: FakeArtifacts = {
    all,
    maxBytes: 100 * 1024 * 1024,
    onMessage: () => {},
    routes(router) {
      router.service(ArtifactService, {
        createArtifact({ requestId, spec, data }) {
          if (data.length > 1024 * 1024) throw refusal("PAYLOAD_TOO_LARGE", "use UploadArtifact");
          return put(requestId, spec, data);
        },
        async uploadArtifact(messages) {
          let header: { requestId: string; spec?: ArtifactSpec | undefined } = { requestId: "" };
          const pieces: Uint8Array[] = [];
          let count = 0;
          for await (const { frame } of messages) {
            if (frame.case === "header") header = frame.value;
            if (frame.case === "data") pieces.push(frame.value.slice());
            fake.onMessage(++count);
          }
          return put(header.requestId, header.spec, Buffer.concat(pieces));
        },
        getArtifact: ({ artifactId }) => ({ artifact: byId(artifactId).artifact }),
        async *downloadArtifact({ artifactId }) {
          const { artifact, bytes } = byId(artifactId);
          yield { frame: { case: "header", value: { artifact } } };
          for (let at = 0; at < bytes.length; at += 65_536) {
            yield { frame: { case: "data", value: bytes.slice(at, at + 65_536) } };
          }
        },
      });
    },
  };
  return fake;
}
