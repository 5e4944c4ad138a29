import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { CreateArtifactRequestSchema, UploadHeaderSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { createMemoryBlobs } from "../../src/blobs/memory.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { callIn, createWorld, gather, hashOf, pieces, specOf, type World } from "./world.ts";

const header = (fields: Parameters<typeof specOf>[0] = {}, requestId = "") =>
  create(UploadHeaderSchema, { requestId, spec: specOf(fields) });

/** How many pieces were asked for, and whether the reader left early. */
function watchedPieces(bytes: Uint8Array, size: number) {
  const seen = { asked: 0, isLeft: false };
  async function* run() {
    try {
      for await (const piece of pieces(bytes, size)) {
        seen.asked++;
        yield piece;
      }
    } finally {
      seen.isLeft = true;
    }
  }
  return { seen, bytes: run() };
}

async function requireNothing(world: World): Promise<void> {
  expect(await world.blobNames()).toEqual([]);
}

describe("an upload", () => {
  it.each([0, 1, 65_535, 65_536, 65_537, 1_048_576, 3_000_001])("of %i bytes comes back as it was", async (size) => {
    const world = createWorld();
    const { uploads, contents } = world.server();
    const bytes = randomBytes(size);
    const { artifact } = await uploads.upload(
      callIn(),
      header({ sha256: hashOf(bytes), sizeBytes: BigInt(size) }),
      pieces(bytes),
    );
    expect(artifact).toMatchObject({ sizeBytes: BigInt(size), sha256: hashOf(bytes) });
    expect(artifact.encryption).toMatchObject({ scheme: "signalbox-sealed-v1", keyId: "key_1", recipient: "" });
    const known = await world.known(artifact.artifactId);
    expect(hashOf(await gather(await contents.open(known)))).toBe(hashOf(bytes));
  });

  it("leaves nothing readable in the store", async () => {
    const world = createWorld();
    const bytes = Buffer.from("the secret plan ".repeat(100));
    await world.server().uploads.upload(callIn(), header(), pieces(bytes));
    const [name = ""] = await world.blobNames();
    const stored = await gather(world.blobs.read(name, { from: 0, to: 1_000 }));
    expect(stored.includes("secret")).toBe(false);
  });

  it("of a small file takes 1 MiB and not a byte more", async () => {
    const world = createWorld();
    const { uploads } = world.server();
    const request = (size: number) => create(CreateArtifactRequestSchema, { spec: specOf(), data: randomBytes(size) });
    const { artifact } = await uploads.create(callIn(), request(1_048_576));
    expect(artifact.sizeBytes).toBe(1_048_576n);
    await expect(uploads.create(callIn(), request(1_048_577))).rejects.toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
  });

  it("is refused at the first byte beyond the limit, and leaves nothing", async () => {
    const world = createWorld();
    world.allowance.maxBytes = 500_000;
    const { seen, bytes } = watchedPieces(randomBytes(5_000_000), 100_000);
    const upload = world.server().uploads.upload(callIn(), header(), bytes);
    await expect(upload).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      message: expect.stringContaining("600000") as string,
    });
    expect(seen).toEqual({ asked: 6, isLeft: true });
    await requireNothing(world);
  });

  it("takes exactly as many bytes as the limit", async () => {
    const world = createWorld();
    world.allowance.maxBytes = 500_000;
    const { artifact } = await world.server().uploads.upload(callIn(), header(), pieces(randomBytes(500_000)));
    expect(artifact.sizeBytes).toBe(500_000n);
  });

  it.each([
    ["one byte more than announced", { sizeBytes: 99_999n }],
    ["one byte fewer than announced", { sizeBytes: 100_001n }],
    ["another checksum", { sha256: "0".repeat(64) }],
  ])("with %s is refused and leaves nothing", async (_, fields) => {
    const world = createWorld();
    const upload = world.server().uploads.upload(callIn(), header(fields), pieces(randomBytes(100_000)));
    await expect(upload).rejects.toMatchObject({ reason: "CHECKSUM_MISMATCH" });
    await requireNothing(world);
  });

  it("asks for no more bytes than the store takes", async () => {
    const { promise: isFull, resolve: fill } = Promise.withResolvers<void>();
    const { promise: emptied, resolve: empty } = Promise.withResolvers<void>();
    const blobs = createMemoryBlobs();
    const slow: typeof blobs = {
      ...blobs,
      put: (name, bytes, signal) => blobs.put(name, slowed(bytes), signal),
    };
    async function* slowed(bytes: AsyncIterable<Uint8Array>) {
      let taken = 0;
      for await (const piece of bytes) {
        yield piece;
        if (++taken !== 4) continue;
        fill();
        await emptied;
      }
    }
    const world = createWorld({ blobs: slow });
    const { seen, bytes } = watchedPieces(randomBytes(2_000_000), 65_536);
    const upload = world.server().uploads.upload(callIn(), header(), bytes);
    await isFull;
    expect(seen.asked).toBeLessThanOrEqual(4);
    empty();
    expect((await upload).artifact.sizeBytes).toBe(2_000_000n);
  });

  it("whose caller is gone is given up at once, also while no bytes come, and leaves nothing", async () => {
    const world = createWorld();
    const { promise: isSilent, resolve: fallSilent } = Promise.withResolvers<void>();
    async function* silent() {
      yield randomBytes(300_000);
      fallSilent();
      await new Promise(() => {});
    }
    const caller = new AbortController();
    const upload = world.server().uploads.upload(callIn("ws_one", caller.signal), header(), silent());
    void isSilent.then(() => caller.abort(new Error("hung up")));
    await expect(upload).rejects.toThrow("hung up");
    await requireNothing(world);
  });

  it("whose bytes break off leaves nothing", async () => {
    const world = createWorld();
    async function* broken() {
      yield randomBytes(300_000);
      throw new Error("connection reset");
    }
    await expect(world.server().uploads.upload(callIn(), header(), broken())).rejects.toThrow("connection reset");
    await requireNothing(world);
  });

  it("that the store refuses is told so, and its source is closed", async () => {
    const blobs = createMemoryBlobs();
    const full: typeof blobs = {
      ...blobs,
      async put(_name, bytes) {
        let taken = 0;
        for await (const piece of bytes) {
          taken += piece.length;
          if (taken > 500_000) throw new SignalboxError("STORE_UNAVAILABLE", "no space left");
        }
      },
    };
    const world = createWorld({ blobs: full });
    const { seen, bytes } = watchedPieces(randomBytes(2_000_000), 65_536);
    const upload = world.server().uploads.upload(callIn(), header(), bytes);
    await expect(upload).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
    expect(seen.isLeft).toBe(true);
  });

  it("whose record may have happened keeps its bytes", async () => {
    const world = createWorld();
    world.allowance.refusal = new SignalboxError("STORE_UNAVAILABLE", "no answer");
    const upload = world.server().uploads.upload(callIn(), header(), pieces(randomBytes(10)));
    await expect(upload).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
    expect(await world.blobNames()).toHaveLength(1);
  });

  it.each(["QUOTA_EXCEEDED", "INVALID_STATE", "LEASE_LOST"] as const)(
    "that is refused at its end with %s leaves nothing",
    async (reason) => {
      const world = createWorld();
      world.allowance.refusal = new SignalboxError(reason, "no room any more");
      const upload = world.server().uploads.upload(callIn(), header(), pieces(randomBytes(10)));
      await expect(upload).rejects.toMatchObject({ reason });
      await requireNothing(world);
    },
  );

  it("that is refused though an answer that was lost has recorded it keeps its bytes", async () => {
    const world = createWorld();
    const { admission } = world;
    const lost = {
      ...admission,
      async record(...given: Parameters<typeof admission.record>) {
        await admission.record(...given);
        throw new SignalboxError("LEASE_LOST", "another worker has the run");
      },
    };
    const upload = world.server({ admission: lost }).uploads.upload(callIn(), header(), pieces(randomBytes(10)));
    await expect(upload).rejects.toMatchObject({ reason: "LEASE_LOST" });
    expect(await world.blobNames()).toHaveLength(1);
  });

  it("waits for its turn when 200 of its workspace are under way", async () => {
    const { uploads } = createWorld().server();
    const over = Promise.withResolvers<void>();
    async function* silent() {
      yield randomBytes(1);
      await over.promise;
    }
    const open = Array.from({ length: 200 }, () => uploads.upload(callIn(), header(), silent()));
    const oneMore = () => uploads.upload(callIn(), header(), pieces(randomBytes(10)));
    await expect(oneMore()).rejects.toMatchObject({ reason: "RATE_LIMITED", metadata: { retry_after_ms: "1000" } });
    await uploads.upload(callIn("ws_two"), header(), pieces(randomBytes(10)));
    over.resolve();
    await Promise.all(open);
    await oneMore();
  });
});

describe("an upload whose key is destroyed meanwhile", () => {
  it.each([
    ["", "gone"],
    ["", "another"],
    ["age1recipient", "gone"],
  ])("is not recorded (recipient %j, its key is %s)", async (recipient, afterwards) => {
    const world = createWorld();
    const artifactId = derivedId("art", "ws_one", "r1");
    async function* sweptMeanwhile() {
      yield randomBytes(100);
      await world.keys.destroy("ws_one", artifactId);
      if (afterwards === "another") await world.keys.issue("ws_one", artifactId);
    }
    const upload = world.server().uploads.upload(callIn(), header({ recipient }, "r1"), sweptMeanwhile());
    await expect(upload).rejects.toMatchObject({ reason: "CONTENTION" });
    expect(await world.admission.load("ws_one", artifactId)).toEqual({ status: "absent" });
  });
});

describe("an upload with a request_id", () => {
  it("answers the first artifact when it is repeated, and stores nothing again", async () => {
    const world = createWorld();
    const { uploads } = world.server();
    const bytes = randomBytes(200_000);
    const first = await uploads.upload(callIn(), header({}, "r1"), pieces(bytes));
    const again = watchedPieces(bytes, 50_000);
    const second = await world.server().uploads.upload(callIn(), header({}, "r1"), again.bytes);
    expect(second).toEqual(first);
    expect(again.seen.asked).toBe(4);
    expect(await world.blobNames()).toHaveLength(1);
  });

  it.each([
    ["other bytes", randomBytes(200_000)],
    ["fewer bytes", randomBytes(199_999)],
    ["more bytes", randomBytes(900_000)],
  ])("is refused when it is repeated with %s", async (_, other) => {
    const world = createWorld();
    const { uploads } = world.server();
    await uploads.upload(callIn(), header({}, "r1"), pieces(randomBytes(200_000)));
    const again = uploads.upload(callIn(), header({}, "r1"), pieces(other));
    await expect(again).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    expect(await world.blobNames()).toHaveLength(1);
  });

  it("is given up at once when its caller is gone during the repeat", async () => {
    const { uploads } = createWorld().server();
    await uploads.upload(callIn(), header({}, "r1"), pieces(randomBytes(200_000)));
    const caller = new AbortController();
    async function* silent() {
      yield randomBytes(100);
      caller.abort(new Error("hung up"));
      await new Promise(() => {});
    }
    await expect(uploads.upload(callIn("ws_one", caller.signal), header({}, "r1"), silent())).rejects.toThrow(
      "hung up",
    );
  });

  it("is refused when it is repeated with another spec", async () => {
    const { uploads } = createWorld().server();
    await uploads.upload(callIn(), header({}, "r1"), pieces(Buffer.from("a")));
    const again = uploads.upload(callIn(), header({ name: "other.txt" }, "r1"), pieces(Buffer.from("a")));
    await expect(again).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  });

  it("makes one artifact when it comes twice at the same time, and keeps one blob", async () => {
    const world = createWorld();
    const bytes = randomBytes(300_000);
    const both = [1, 2].map(() => world.server().uploads.upload(callIn(), header({}, "r1"), pieces(bytes)));
    const [one, other] = await Promise.all(both);
    expect(one?.artifact).toEqual(other?.artifact);
    const known = await world.known(one?.artifact.artifactId ?? "");
    expect(await world.blobNames()).toEqual(known.parts.map(({ blob }) => blob));
  });

  it("keeps the winner's blob only when two come with different bytes at the same time", async () => {
    const world = createWorld();
    const both = [1, 2].map(() =>
      world.server().uploads.upload(callIn(), header({}, "r1"), pieces(randomBytes(300_000))),
    );
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const answered = outcomes.find((outcome) => outcome.status === "fulfilled");
    const known = await world.known(answered?.value.artifact.artifactId ?? "");
    expect(await world.blobNames()).toEqual(known.parts.map(({ blob }) => blob));
    await gather(await world.server().contents.open(known));
  });
});

describe("an upload to a recipient", () => {
  const recipient = "age1recipient";

  it("leaves the server without the key", async () => {
    const world = createWorld();
    const { uploads, contents } = world.server();
    const { artifact } = await uploads.upload(callIn(), header({ recipient }), pieces(randomBytes(100)));
    expect(artifact.encryption).toMatchObject({ keyId: "", recipient });
    expect(await world.keys.open("ws_one", artifact.artifactId)).toMatchObject({ state: "sealed", recipient });
    const known = await world.known(artifact.artifactId);
    await expect(contents.open(known)).rejects.toMatchObject({ reason: "INVALID_STATE" });
    expect((await gather((await contents.openSealed(known)).bytes)).length).toBeGreaterThan(100);
  });

  it("makes one artifact that its recipient can open when it comes twice at the same time", async () => {
    const world = createWorld();
    const bytes = randomBytes(200_000);
    const both = [1, 2].map(() => world.server().uploads.upload(callIn(), header({ recipient }, "r1"), pieces(bytes)));
    const [one, other] = await Promise.all(both);
    expect(one?.artifact).toEqual(other?.artifact);
    const known = await world.known(one?.artifact.artifactId ?? "");
    expect(await world.blobNames()).toEqual(known.parts.map(({ blob }) => blob));
  });
});
