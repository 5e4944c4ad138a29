import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { fromJsonString } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AccessMethod } from "../../gen/signalbox/v1/artifact_pb.ts";
import { RunSchema, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Manifest } from "../../src/bundles/manifest.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { until } from "../support/until.ts";
import {
  bundleRequest,
  createEndedRun,
  createMemoryBundles,
  filesOf,
  type MemoryBundles,
  runId,
  testCall,
  verifyBytes,
  workspaceId,
} from "./memory-bundles.ts";

async function manifestIn(bytes: Uint8Array): Promise<Manifest> {
  return JSON.parse((await filesOf(bytes)).get("manifest.json") ?? "") as Manifest;
}

const reasonOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof SignalboxError ? error.reason : String(error)),
  );

test("a bundle has the run, its events, its artifacts and, last, a manifest of them", async () => {
  const bundles = await createEndedRun();
  const files = await filesOf(await bundles.bytes());
  expect([...files.keys()]).toEqual([
    "run.json",
    "events.jsonl",
    "artifacts/art_00000000000000000000000001/report.txt",
    "artifacts/art_00000000000000000000000002/_CON",
    "artifacts/art_00000000000000000000000003/empty",
    "manifest.json",
  ]);
  expect(files.get("artifacts/art_00000000000000000000000001/report.txt")).toBe("all is well\n");
  const run = fromJsonString(RunSchema, files.get("run.json") ?? "");
  expect(run).toMatchObject({ runId, status: RunStatus.CANCELED, artifactSummary: { count: 3, totalSizeBytes: 20n } });
  const lines = (files.get("events.jsonl") ?? "")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(lines).toHaveLength(7);
  expect(lines[0]).toMatchObject({ position: "1", streamSequence: "1", event: { type: "run.created" } });
  const manifest = JSON.parse(files.get("manifest.json") ?? "") as Manifest;
  expect(manifest).toMatchObject({
    format: "signalbox-bundle-v1",
    workspaceId,
    runId,
    eventCount: 7,
    headPosition: "7",
  });
  const sha256 = (path: string) =>
    createHash("sha256")
      .update(files.get(path) ?? "")
      .digest("hex");
  expect(manifest.files.map(({ path, sha256: said }) => [path, said])).toEqual(
    [...files.keys()].slice(0, -1).map((path) => [path, sha256(path)]),
  );
});

test("the same run gives the same bytes, whatever else is in the log", async () => {
  const bundles = await createEndedRun();
  const first = await bundles.bytes();
  await bundles.appender.append({ id: "run_other" });
  await bundles.appender.append({ id: runId, workspaceId: "ws_other" });
  expect((await bundles.bytes()).equals(first)).toBe(true);
});

test("the bytes do not depend on the machine's time zone, nor on the process", async () => {
  const script = `
    import { zip } from "${new URL("../../src/bundles/zip.ts", import.meta.url).href}";
    async function* bytes() { yield Buffer.from("hello"); }
    async function* entries() { yield { path: "a/ä.txt", bytes: bytes() }; yield { path: "b", bytes: bytes() }; }
    const frames = await Array.fromAsync(zip(entries()));
    process.stdout.write(Buffer.concat(frames).toString("base64"));`;
  const zips = ["UTC", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Africa/Monrovia"].map((TZ) =>
    execFileSync(process.execPath, ["--input-type=module", "-e", script], { env: { ...process.env, TZ } }).toString(),
  );
  expect(zips[0]).not.toBe("");
  expect(new Set(zips).size).toBe(1);
});

test("a bundle of an open run goes up to where its stream stands", async () => {
  const bundles = createMemoryBundles();
  await bundles.begin();
  const open = await bundles.bytes();
  await bundles.end();
  expect(await manifestIn(open)).toMatchObject({ eventCount: 3, headPosition: "3" });
  expect(await verifyBytes(open)).toMatchObject({ eventCount: 3 });
  expect(await manifestIn(await bundles.bytes())).toMatchObject({ eventCount: 4, headPosition: "4" });
});

test("every artifact is asked for as a bundle, from where the caller is, and opened once", async () => {
  const bundles = await createEndedRun();
  await Array.fromAsync(bundles.download(testCall(), bundleRequest(), "192.0.2.7"));
  expect(bundles.wishes).toEqual(
    [1, 2, 3].map((n) => ({
      artifactId: `art_${String(n).padStart(26, "0")}`,
      method: AccessMethod.BUNDLE,
      remoteAddress: "192.0.2.7",
    })),
  );
  expect(bundles.openSources()).toBe(0);
});

test("artifacts that are not selected are named without their bytes, and nobody is asked for them", async () => {
  const bundles = await createEndedRun();
  const artifactIds = ["art_00000000000000000000000002"];
  const some = await bundles.bytes({ artifactIds });
  expect((await manifestIn(some)).artifacts.map(({ omitted }) => omitted)).toEqual([
    "not_selected",
    undefined,
    "not_selected",
  ]);
  expect(bundles.wishes.map(({ artifactId }) => artifactId)).toEqual(artifactIds);
  const none = await bundles.bytes({ withoutArtifacts: true });
  expect([...(await filesOf(none)).keys()]).toEqual(["run.json", "events.jsonl", "manifest.json"]);
  expect(await verifyBytes(none)).toMatchObject({ eventCount: 7 });
});

test("artifacts that the caller may not have, or nobody can, are named with the reason", async () => {
  const bundles = createMemoryBundles();
  await bundles.begin();
  const secret = await bundles.add({ name: "secret", content: "s" });
  secret.refusal = new SignalboxError("PERMISSION_DENIED", "not yours");
  (await bundles.add({ name: "shredded", content: "x" })).status = "purged";
  await bundles.add({ name: "sealed", content: "y", recipient: "age1qqqq" });
  (await bundles.add({ name: "late", content: "z" })).refusal = new SignalboxError("ARTIFACT_NOT_FOUND", "not yet");
  await bundles.add({ name: "there", content: "t" });
  const bytes = await bundles.bytes();
  expect((await manifestIn(bytes)).artifacts.map(({ name, status, omitted }) => [name, status, omitted])).toEqual([
    ["secret", "available", "not_permitted"],
    ["shredded", "purged", "gone"],
    ["sealed", "available", "sealed"],
    ["late", "available", "not_recorded"],
    ["there", "available", undefined],
  ]);
  expect(await verifyBytes(bytes)).toMatchObject({ eventCount: 8 });
});

test.each([
  ["a run that does not exist", () => createMemoryBundles().bytes(), "RUN_NOT_FOUND"],
  [
    "an artifact of another run",
    async () => (await createEndedRun()).bytes({ artifactIds: ["art_00000000000000000000000009"] }),
    "ARTIFACT_NOT_FOUND",
  ],
  ["a caller who asks too often", () => refused("RATE_LIMITED"), "RATE_LIMITED"],
  ["a store that is away", () => refused("STORE_UNAVAILABLE"), "STORE_UNAVAILABLE"],
])("%s ends the download", async (_what, download, reason) => {
  expect(await reasonOf(download())).toBe(reason);
});

async function refused(reason: "RATE_LIMITED" | "STORE_UNAVAILABLE"): Promise<Buffer> {
  const bundles = createMemoryBundles();
  await bundles.begin();
  (await bundles.add({ name: "a" })).refusal = new SignalboxError(reason, "no");
  return bundles.bytes();
}

test("another tenant's run is not there", async () => {
  const bundles = await createEndedRun();
  const call = { ...testCall(), workspaceId: "ws_other" };
  expect(await reasonOf(Array.fromAsync(bundles.download(call, bundleRequest())))).toBe("RUN_NOT_FOUND");
});

test("bytes that are not those that the run recorded end the download", async () => {
  const bundles = createMemoryBundles();
  await bundles.begin();
  const stream = { bytes: () => chunks(3, 10), sizeBytes: 30n, sha256: "0".repeat(64) };
  await bundles.add({ name: "a", stream });
  expect(await reasonOf(bundles.bytes())).toBe("ARTIFACT_CORRUPT");
});

test("trouble amid an artifact's bytes comes out as it is, and closes them", async () => {
  const bundles = createMemoryBundles();
  await bundles.begin();
  async function* broken() {
    yield* chunks(20, 64 * 1024);
    throw new SignalboxError("ARTIFACT_CORRUPT", "flipped");
  }
  await bundles.add({ name: "a", stream: { bytes: broken, sizeBytes: 1n, sha256: "" } });
  expect(await reasonOf(bundles.bytes())).toBe("ARTIFACT_CORRUPT");
  expect(bundles.openSources()).toBe(0);
});

async function* chunks(count: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(sizeBytes, 1);
  for (let i = 0; i < count; i++) yield Promise.resolve(chunk);
}

/** A run with one artifact that never ends, and how many of its pieces were read. */
async function endlessRun(): Promise<{ bundles: MemoryBundles; read: () => number }> {
  const bundles = createMemoryBundles();
  let read = 0;
  async function* endless() {
    for (;;) {
      read++;
      yield* chunks(1, 64 * 1024);
    }
  }
  await bundles.begin();
  await bundles.add({ name: "endless", stream: { bytes: endless, sizeBytes: 1n, sha256: "" } });
  return { bundles, read: () => read };
}

test("reads no further ahead than its reader, and closes what is open when that one leaves", async () => {
  const { bundles, read } = await endlessRun();
  const frames = bundles.download(testCall(), bundleRequest());
  for (let i = 0; i < 10; i++) {
    const { value } = await frames.next();
    expect(value?.data).toHaveLength(64 * 1024);
  }
  expect(read()).toBeLessThan(16);
  await frames.return();
  await until(() => bundles.openSources() === 0, { what: "the source to be closed" });
});

test("a reader who leaves before the first byte of an artifact closes it as well", async () => {
  const bundles = createMemoryBundles();
  await bundles.begin();
  await bundles.add({ name: "a", content: "a" });
  const frames = bundles.download(testCall(), bundleRequest());
  await frames.next();
  await frames.return();
  expect(bundles.openSources()).toBe(0);
});

test("a call that is aborted ends the download", async () => {
  const { bundles } = await endlessRun();
  const leaving = new AbortController();
  leaving.abort(new SignalboxError("DRAINING", "bye"));
  expect(await reasonOf(Array.fromAsync(bundles.download(testCall(leaving.signal), bundleRequest())))).toBe("DRAINING");
});
