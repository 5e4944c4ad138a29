import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  CreateUploadRequestSchema,
  FinishUploadRequestSchema,
  UploadChunkRequestSchema,
  UploadHeaderSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Uploads } from "../../src/artifacts/uploads.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { createDying, type Dying } from "./dying.ts";
import { callIn, createWorld, hashOf, pieces, requireAllReadable, specOf, type World } from "./world.ts";

const mebibyte = 1024 * 1024;
const small = randomBytes(200_000);
const large = randomBytes(mebibyte + 500);
/** What both ways call their artifact. */
const artifactId = derivedId("art", "ws_one", "r1");

/** A whole upload, done from its beginning: what a client does again when its server dies. */
type Work = (uploads: Uploads) => Promise<void>;

const works: Record<string, { recipient: string; work: Work; bytes: Uint8Array }> = {};
for (const recipient of ["", "age1recipient"]) {
  const to = recipient === "" ? "" : " to a recipient";
  works[`an upload in one piece${to}`] = {
    recipient,
    bytes: small,
    work: async (uploads) => {
      const header = create(UploadHeaderSchema, { requestId: "r1", spec: specOf({ recipient }) });
      await uploads.upload(callIn(), header, pieces(small));
    },
  };
  works[`an upload in chunks${to}`] = {
    recipient,
    bytes: large,
    work: async (uploads) => {
      const spec = specOf({ recipient, sizeBytes: BigInt(large.length) });
      const upload = await uploads.begin(callIn(), create(CreateUploadRequestSchema, { requestId: "r1", spec }));
      const { uploadId, receivedChunks, chunkCount } = upload;
      for (let index = 0; index < chunkCount; index++) {
        if (receivedChunks.includes(index)) continue;
        const data = large.subarray(index * mebibyte, (index + 1) * mebibyte);
        await uploads.chunk(callIn(), create(UploadChunkRequestSchema, { uploadId, index, data }));
      }
      await uploads.finish(callIn(), create(FinishUploadRequestSchema, { uploadId, sha256: hashOf(large) }));
    },
  };
}

/** A server that dies where `dying` says. */
function mortal(world: World, dying: Dying): Uploads {
  return world.server({
    blobs: dying.wrap("blobs", world.blobs, ["put", "remove"]),
    keys: dying.wrap("keys", world.keys, ["issue", "seal"]),
    sessions: dying.wrap("sessions", world.sessions, ["create", "replace", "remove"]),
    admission: dying.wrap("admission", world.admission, ["record"]),
  }).uploads;
}

describe.each(Object.entries(works))("%s", (_, { work, bytes, recipient }) => {
  async function effects(): Promise<readonly string[]> {
    const dying = createDying();
    await work(mortal(createWorld(), dying));
    return dying.trace;
  }

  it("has the effects that can be cut", async () => {
    const trace = await effects();
    expect(trace).toContain("blobs.put");
    expect(trace).toContain("keys.issue");
    expect(trace.includes("keys.seal")).toBe(recipient !== "");
    // Nothing is on record before its bytes are durable and its key is where it belongs.
    const recorded = trace.indexOf("admission.record");
    for (const effect of ["blobs.put", "keys.issue", "keys.seal"]) {
      expect(trace.lastIndexOf(effect)).toBeLessThan(recorded);
    }
  });

  it.each(["before", "after"] as const)(
    "is whole when it is done again after a death %s any of them",
    async (moment) => {
      const count = (await effects()).length;
      for (let at = 0; at < count; at++) {
        const world = createWorld();
        const died = await work(mortal(world, createDying(at, moment))).then(
          () => undefined,
          (error: unknown) => error,
        );
        // Nothing is referenced that is not there, whatever came of it.
        await requireAllReadable(world, [artifactId]);
        await work(world.server().uploads);
        expect(await requireAllReadable(world, [artifactId])).toBe(1);
        const { artifact, parts } = await world.known(artifactId);
        expect(artifact.sha256, `after a death ${moment} effect ${at}: ${String(died)}`).toBe(hashOf(bytes));
        expect(await world.blobNames()).toEqual(expect.arrayContaining(parts.map(({ blob }) => blob)));
        expect(world.damages).toEqual([]);
      }
    },
  );

  it("is whole when it dies at any of them, twice", async () => {
    const count = (await effects()).length;
    for (let first = 0; first < count; first++) {
      const world = createWorld();
      await work(mortal(world, createDying(first, "after"))).catch(() => {});
      await work(mortal(world, createDying(1, "after"))).catch(() => {});
      await work(world.server().uploads);
      expect(await requireAllReadable(world, [artifactId])).toBe(1);
    }
  });
});
