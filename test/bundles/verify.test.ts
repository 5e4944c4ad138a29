import { createHash } from "node:crypto";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { verifyBundle } from "../../src/bundles/verify.ts";
import { evolveRun } from "../../src/runs/resource.ts";
import {
  createEndedRun,
  createMemoryBundles,
  openFolder,
  runId,
  verdict,
  verifyBytes,
  workspaceId,
} from "./memory-bundles.ts";

let folder: Awaited<ReturnType<typeof openFolder>>;
let bundle: Buffer;
beforeAll(async () => {
  folder = await openFolder();
  const bundles = createMemoryBundles();
  await bundles.begin();
  await bundles.add({ name: "a.txt", content: "hello" });
  await bundles.add({ name: "gone.txt", content: "bye" }).then((artifact) => (artifact.status = "purged"));
  await bundles.end();
  bundle = await bundles.bytes();
});
afterAll(() => folder[Symbol.asyncDispose]());

test("a whole bundle says what it is, and what it does not have", async () => {
  const headHash = /"headHash": "([0-9a-f]{64})"/.exec(bundle.toString())?.[1] ?? "";
  expect(await verifyBytes(bundle)).toEqual({
    workspaceId,
    runId,
    eventCount: 6,
    headPosition: 6n,
    headHash,
    isPinned: false,
    sizeBytes: bundle.length,
    artifacts: [
      {
        artifactId: "art_00000000000000000000000001",
        name: "a.txt",
        sizeBytes: 5n,
        sha256: createHash("sha256").update("hello").digest("hex"),
        status: "available",
        omitted: undefined,
      },
      expect.objectContaining({ name: "gone.txt", status: "purged", omitted: "gone" }),
    ],
  });
});

test("a head hash from elsewhere is compared", async () => {
  const { headHash } = await verifyBytes(bundle);
  expect(await verifyBytes(bundle, { head: headHash })).toMatchObject({ isPinned: true });
  expect(await verdict(verifyBytes(bundle, { head: "0".repeat(64) }))).toMatch(/^head: .*another history/);
});

// Another bit at each: both would take twice as long.
test("every byte that is changed is caught", { timeout: 120_000 }, async () => {
  const path = join(folder.path, "changed.zip");
  await writeFile(path, bundle);
  await using file = await open(path, "r+");
  const kinds = new Set<string>();
  const uncaught: string[] = [];
  for (const [position, byte] of bundle.entries()) {
    await file.write(Uint8Array.of(byte ^ (1 << (position % 8))), 0, 1, position);
    const late = setTimeout(30_000, "late", { ref: false });
    const said = await Promise.race([verdict(verifyBundle(path, { evolveRun })), late]);
    if (said === "fits" || said === "late") uncaught.push(`${position}: ${said}`);
    kinds.add(said.split(":")[0] ?? "");
    await file.write(Uint8Array.of(byte), 0, 1, position);
  }
  expect(uncaught).toEqual([]);
  expect(kinds).toEqual(new Set(["zip", "manifest", "event", "run", "artifact", "container"]));
  expect(await verdict(verifyBundle(path, { evolveRun }))).toBe("fits");
});

test("every bundle that is cut off is caught, and so is one with more behind it", { timeout: 60_000 }, async () => {
  for (let length = 0; length < bundle.length; length += 61) {
    expect(await verdict(verifyBytes(bundle.subarray(0, length)))).toMatch(/^zip: /);
  }
  expect(await verdict(verifyBytes(Buffer.concat([bundle, Buffer.alloc(1)])))).not.toBe("fits");
  expect(await verdict(verifyBytes(Buffer.concat([Buffer.alloc(1), bundle])))).not.toBe("fits");
});

test("two bundles of runs can not be mixed", async () => {
  const other = await (await createEndedRun()).bytes();
  const offset = bundle.indexOf("events.jsonl");
  expect(await verdict(verifyBytes(Buffer.concat([bundle.subarray(0, offset), other.subarray(offset)])))).not.toBe(
    "fits",
  );
});

test.each([
  ["nothing", Buffer.alloc(0)],
  ["text", Buffer.from("this is no zip")],
  ["an end of a zip alone", Buffer.concat([Buffer.from("PK\u0005\u0006"), Buffer.alloc(18)])],
  ["noise", Buffer.from(createHash("shake256", { outputLength: 70_000 }).update("noise").digest())],
])("%s is no bundle", async (_what, bytes) => {
  expect(await verdict(verifyBytes(bytes))).toMatch(/^zip: /);
});

test("a file that is not there is no verdict", async () => {
  await expect(verifyBundle(join(folder.path, "none.zip"), { evolveRun })).rejects.toThrow("ENOENT");
});

describe("a shredded artifact", () => {
  test("leaves the rest verifiable, and the chain the same", async () => {
    const bundles = createMemoryBundles();
    await bundles.begin();
    const doomed = await bundles.add({ name: "doomed.txt", content: "secret" });
    await bundles.add({ name: "kept.txt", content: "kept" });
    await bundles.end();
    const before = await verifyBytes(await bundles.bytes());
    doomed.status = "purged";
    const after = await verifyBytes(await bundles.bytes());
    expect(after.headHash).toBe(before.headHash);
    expect(after.artifacts).toMatchObject([
      { name: "doomed.txt", status: "purged", omitted: "gone" },
      { name: "kept.txt", status: "available", omitted: undefined },
    ]);
    expect((await bundles.bytes()).includes("secret")).toBe(false);
  });
});
