import { createHash, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { Encrypter, generateIdentity, identityToRecipient } from "age-encryption";
import { expect, test, vi } from "vitest";
import {
  ArtifactMismatchError,
  ArtifactSchema,
  ArtifactService,
  createSignalboxClient,
  downloadArtifact,
  openSealedArtifact,
  SealBrokenError,
  uploadArtifact,
  WrongIdentityError,
} from "../../src/client/client.ts";
import { all, sealAll, someBytes } from "../sealing/bytes.ts";

const artifactId = "art_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const mebibyte = 1024 * 1024;
const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function clientOf(service: Partial<ServiceImpl<typeof ArtifactService>>) {
  return createSignalboxClient({
    transport: createRouterTransport((router) => router.service(ArtifactService, service)),
  });
}

function artifactOf(bytes: Uint8Array, name = "a.bin") {
  return create(ArtifactSchema, { artifactId, name, sizeBytes: BigInt(bytes.length), sha256: hashOf(bytes) });
}

/** An upload in chunks of 100,000 bytes; `onChunk` may refuse. */
function openUploads(onChunk: (index: number) => void = () => {}) {
  const chunkSizeBytes = 100_000;
  const chunks = new Map<number, Uint8Array>();
  let sizeBytes = 0n;
  let underWay = 0;
  const seen = { most: 0, sent: [] as number[], requestIds: [] as string[] };
  const client = clientOf({
    createUpload({ requestId, spec }) {
      sizeBytes = spec?.sizeBytes ?? 0n;
      seen.requestIds.push(requestId);
      const chunkCount = Math.ceil(Number(sizeBytes) / chunkSizeBytes);
      const receivedChunks = [...chunks.keys()];
      return { upload: { uploadId: artifactId, sizeBytes, chunkSizeBytes, chunkCount, receivedChunks } };
    },
    async uploadChunk({ index, data, sha256 }) {
      seen.most = Math.max(seen.most, ++underWay);
      seen.sent.push(index);
      await new Promise(setImmediate);
      underWay--;
      onChunk(index);
      expect(sha256).toBe(hashOf(data));
      chunks.set(index, data);
      return {};
    },
    finishUpload() {
      const indexes = [...chunks.keys()].toSorted((a, b) => a - b);
      return { artifact: artifactOf(Buffer.concat(indexes.map((index) => chunks.get(index) ?? new Uint8Array()))) };
    },
  });
  return { client, seen };
}

test("a small file is stored in one call, with its size", async () => {
  const bytes = someBytes(1_000);
  const seen: unknown[] = [];
  using client = clientOf({
    createArtifact({ spec, data, requestId }) {
      seen.push({ name: spec?.name, sizeBytes: spec?.sizeBytes, requestId });
      return { artifact: artifactOf(data) };
    },
  });
  const artifact = await uploadArtifact(client, bytes, { name: "a.bin" });
  expect(artifact.sha256).toBe(hashOf(bytes));
  expect(seen).toEqual([
    { name: "a.bin", sizeBytes: 1_000n, requestId: expect.stringMatching(/^[0-9a-f]{32}$/) as string },
  ]);
});

test("a large file goes in chunks, some at a time, each with its checksum", async () => {
  const bytes = someBytes(mebibyte + 50_001);
  const { client, seen } = openUploads();
  const told: number[] = [];
  const artifact = await uploadArtifact(
    client,
    new Blob([new Uint8Array(bytes)]),
    { name: "a.bin" },
    { onProgress: (n) => told.push(n) },
  );
  expect(artifact.sha256).toBe(hashOf(bytes));
  expect(seen.sent.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 11 }, (_, index) => index));
  // How many meet is up to the machine.
  expect(seen.most).toBeGreaterThan(1);
  expect(seen.most).toBeLessThanOrEqual(4);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect([told[0], told.at(-1)]).toEqual([0, bytes.length]);
});

test("an upload that broke off for good goes on where it stopped", async () => {
  const bytes = someBytes(mebibyte + 50_001);
  let isBroken = true;
  const { client, seen } = openUploads((index) => {
    if (isBroken && index === 6) throw new ConnectError("no", Code.InvalidArgument);
  });
  const upload = () => uploadArtifact(client, bytes, { name: "a.bin" }, { requestId: "r1" });
  await expect(upload()).rejects.toThrow("no");
  const sent = seen.sent.splice(0);
  isBroken = false;
  expect((await upload()).sha256).toBe(hashOf(bytes));
  expect(seen.requestIds).toEqual(["r1", "r1"]);
  expect(seen.sent).toContain(6);
  expect(seen.sent.length + sent.length).toBeLessThan(2 * 11);
});

test("a chunk is sent again while the server is away", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  try {
    let failures = 3;
    const { client } = openUploads(() => {
      if (failures-- > 0) throw new ConnectError("away", Code.Unavailable);
    });
    const bytes = someBytes(mebibyte + 1);
    const delays: number[] = [];
    const uploading = uploadArtifact(
      client,
      bytes,
      { name: "a" },
      { onRetry: (_error, delayMs) => delays.push(delayMs) },
    );
    while (delays.length < 3) await vi.advanceTimersByTimeAsync(100);
    await vi.advanceTimersByTimeAsync(60_000);
    expect((await uploading).sha256).toBe(hashOf(bytes));
  } finally {
    vi.useRealTimers();
  }
});

test("an upload that is aborted leaves no call behind", async () => {
  const abort = new AbortController();
  const { client, seen } = openUploads((index) => {
    if (index === 2) abort.abort();
  });
  const upload = uploadArtifact(client, someBytes(mebibyte * 2), { name: "a" }, { signal: abort.signal });
  await expect(upload).rejects.toMatchObject({ code: Code.Canceled });
  const sent = seen.sent.length;
  await new Promise(setImmediate);
  expect(seen.sent.length).toBe(sent);
});

/** Downloads of these bytes that break off after each piece in `breaks`. */
function openDownloads(bytes: Uint8Array, breaks: number[] = []) {
  const offsets: bigint[] = [];
  const client = clientOf({
    async *downloadArtifact({ offset }) {
      offsets.push(offset);
      yield { frame: { case: "header", value: { artifact: artifactOf(bytes) } } };
      await Promise.resolve();
      for (let from = Number(offset); from < bytes.length; from += 1_000) {
        yield { frame: { case: "data", value: bytes.subarray(from, from + 1_000) } };
        if (breaks.includes(from)) {
          breaks.splice(breaks.indexOf(from), 1);
          throw new ConnectError("cut", Code.Unavailable);
        }
      }
    },
  });
  return { client, offsets };
}

test("a download that breaks off goes on where it stood, and is checked as a whole", async () => {
  const bytes = someBytes(5_500);
  const { client, offsets } = openDownloads(bytes, [1_000, 3_000]);
  expect((await all(downloadArtifact(client, artifactId))).equals(bytes)).toBe(true);
  expect(offsets).toEqual([0n, 2_000n, 4_000n]);
});

test("what is there already is not asked for, but checked", async () => {
  const bytes = someBytes(5_500);
  const { client, offsets } = openDownloads(bytes);
  const have = new Blob([new Uint8Array(bytes.subarray(0, 1_234))]);
  expect((await all(downloadArtifact(client, artifactId, { have }))).equals(bytes.subarray(1_234))).toBe(true);
  expect(offsets).toEqual([1_234n]);
  const other = new Blob([new Uint8Array(1_234)]);
  await expect(all(downloadArtifact(client, artifactId, { have: other }))).rejects.toThrow(ArtifactMismatchError);
});

test("a refusal of a download is thrown at once", async () => {
  let calls = 0;
  using client = clientOf({
    // oxlint-disable-next-line eslint/require-yield -- it refuses before it has anything
    async *downloadArtifact() {
      calls++;
      throw await Promise.resolve(new ConnectError("not yours", Code.PermissionDenied));
    },
  });
  await expect(all(downloadArtifact(client, artifactId))).rejects.toThrow("not yours");
  expect(calls).toBe(1);
});

/** A sealed artifact of two parts as its recipient gets it; `damage` changes the stored bytes. */
async function openSealedDownloads(recipient: string, damage: (stored: Buffer) => Buffer = (stored) => stored) {
  const bytes = someBytes(150_000);
  const key = randomBytes(32);
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const wrappedKey = await encrypter.encrypt(key);
  const parts = [
    { blob: "ws_a/art_b/1", sizeBytes: 100_000n },
    { blob: "ws_a/art_b/2", sizeBytes: 50_000n },
  ];
  const first = await sealAll({ key, context: "ws_a/art_b/1" }, bytes.subarray(0, 100_000));
  const second = await sealAll({ key, context: "ws_a/art_b/2" }, bytes.subarray(100_000));
  const stored = damage(Buffer.concat([first, second]));
  const client = clientOf({
    async *downloadArtifact({ sealed }) {
      expect(sealed).toBe(true);
      await Promise.resolve();
      yield { frame: { case: "header", value: { artifact: artifactOf(bytes), sealed: { wrappedKey, parts } } } };
      for (let from = 0; from < stored.length; from += 7_777) {
        yield { frame: { case: "data", value: stored.subarray(from, from + 7_777) } };
      }
    },
  });
  return { client, bytes };
}

test("its recipient opens a sealed artifact with an identity file", async () => {
  const identity = await generateIdentity();
  const { client, bytes } = await openSealedDownloads(await identityToRecipient(identity));
  const file = `# created: today\n# public key: age1…\n${identity}\n`;
  expect((await all(openSealedArtifact(client, artifactId, { identity: file }))).equals(bytes)).toBe(true);
});

test.each(["", "# nothing\n", "AGE-SECRET-KEY-1NO", "ssh-ed25519 AAAA"])("%j is no identity", async (identity) => {
  const { client } = await openSealedDownloads(await identityToRecipient(await generateIdentity()));
  await expect(all(openSealedArtifact(client, artifactId, { identity }))).rejects.toThrow(WrongIdentityError);
});

test("nobody else opens it", async () => {
  const { client } = await openSealedDownloads(await identityToRecipient(await generateIdentity()));
  const identity = await generateIdentity();
  await expect(all(openSealedArtifact(client, artifactId, { identity }))).rejects.toThrow(
    "sealed to a recipient of another identity",
  );
});

test.each([
  ["flipped byte", (stored: Buffer) => stored.fill((stored[120_000] ?? 0) ^ 1, 120_000, 120_001)],
  ["cut end", (stored: Buffer) => stored.subarray(0, -1)],
  ["longer end", (stored: Buffer) => Buffer.concat([stored, Buffer.of(0)])],
])("a %s of sealed bytes is found", async (_name, damage) => {
  const identity = await generateIdentity();
  const { client } = await openSealedDownloads(await identityToRecipient(identity), damage);
  await expect(all(openSealedArtifact(client, artifactId, { identity }))).rejects.toThrow(SealBrokenError);
});
