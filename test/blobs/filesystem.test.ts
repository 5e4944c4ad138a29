import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { access, type FileHandle, open, readdir, readlink, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import { openFilesystemBlobs } from "../../src/blobs/filesystem.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { describeBlobStore, inPieces, namesIn, newName, readAll, someBytes } from "./contract.ts";

const log = pino({ level: "silent" });
const draftsIn = (dir: string) => readdir(join(dir, ".drafts"));

describeBlobStore("filesystem", async () => {
  await using opening = new AsyncDisposableStack();
  const { path: dir } = opening.use(await temporaryFolder());
  const store = opening.use(await openFilesystemBlobs({ dir, log }));
  const owned = opening.move();
  return {
    store,
    down: () => rm(dir, { recursive: true }),
    heldOpen: () => filesOpenIn(dir),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
});

/** How many files below a folder this process has open; 0 where the system does not say. */
async function filesOpenIn(dir: string): Promise<number> {
  const folder = "/proc/self/fd";
  const descriptors = existsSync(folder) ? await readdir(folder) : [];
  const paths = await Promise.all(descriptors.map((name) => readlink(join(folder, name)).catch(() => "")));
  return paths.filter((path) => path.startsWith(dir)).length;
}

/** What the file handles of this process have in common. */
async function handlePrototype(): Promise<FileHandle> {
  await using handle = await open(import.meta.filename);
  return Object.getPrototypeOf(handle) as FileHandle;
}

describe("files", () => {
  test("are for their owner only", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "new", "artifacts");
    const store = await openFilesystemBlobs({ dir, log });
    await store.put("ws_a/art_b/c", inPieces(someBytes(10)));
    const modeOf = async (path: string) => (await stat(join(dir, path))).mode & 0o777;
    expect(await modeOf("ws_a/art_b/c")).toBe(0o600);
    for (const path of ["", ".drafts", "ws_a", "ws_a/art_b"]) expect(await modeOf(path)).toBe(0o700);
    expect(await draftsIn(dir)).toEqual([]);
  });

  test("take their folders along when they go", async () => {
    await using folder = await temporaryFolder();
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    await store.put("ws_a/art_b/c", inPieces(someBytes(10)));
    await store.put("ws_a/art_d/e", inPieces(someBytes(10)));
    await store.remove("ws_a/art_b/c");
    expect(await readdir(join(folder.path, "ws_a"))).toEqual(["art_d"]);
  });

  test("are stored beside one that takes their folder along", async () => {
    await using folder = await temporaryFolder();
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    for (let round = 0; round < 50; round++) {
      const artifact = `ws_a/art_${round}`;
      await store.put(`${artifact}/old`, inPieces(someBytes(10)));
      await Promise.all([store.remove(`${artifact}/old`), store.put(`${artifact}/new`, inPieces(someBytes(20)))]);
      expect((await readAll(store, `${artifact}/new`, { from: 0, to: 20 })).length).toBe(20);
    }
  });

  test("of others are not listed", async () => {
    await using folder = await temporaryFolder();
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    await writeFile(join(folder.path, "lost+found.txt"), "not ours");
    expect(await namesIn(store)).toEqual([]);
  });

  test("are synced, and then their folders, before they count as stored", async () => {
    await using folder = await temporaryFolder();
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    using sync = vi.spyOn(await handlePrototype(), "sync");
    await store.put("ws_a/art_b/c", inPieces(someBytes(10)));
    // The draft, art_b, ws_a and the folder of the store.
    expect(sync).toHaveBeenCalledTimes(4);
  });
});

describe("a disk", () => {
  test.runIf(existsSync("/dev/full"))("that is full makes the store unavailable, with a way out", async () => {
    await using folder = await temporaryFolder();
    await using full = await open("/dev/full", "w");
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    const name = newName();
    {
      using append = vi.spyOn(await handlePrototype(), "appendFile");
      // The kernel's own words, for a write to the device that is always full.
      append.mockImplementation(async (data) => void (await full.writev([data as Uint8Array])));
      await expect(store.put(name, inPieces(someBytes(10)))).rejects.toMatchObject({
        reason: "STORE_UNAVAILABLE",
        message: expect.stringMatching(
          /^the disk of the artifact store is full; free space on it, or let SIGNALBOX_ARTIFACT_DIR/,
        ) as string,
        cause: { code: "ENOSPC" },
      });
    }
    expect(await namesIn(store)).toEqual([]);
    expect(await draftsIn(folder.path)).toEqual([]);
    await store.put(name, inPieces(someBytes(10)));
  });

  test("that can not sync leaves nothing under the name", async () => {
    await using folder = await temporaryFolder();
    const store = await openFilesystemBlobs({ dir: folder.path, log });
    {
      using sync = vi.spyOn(await handlePrototype(), "sync");
      // The draft is synced; the folder that has its name is not.
      sync
        .mockResolvedValueOnce()
        .mockRejectedValueOnce(Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO" }));
      await expect(store.put(newName(), inPieces(someBytes(10)))).rejects.toMatchObject({
        reason: "STORE_UNAVAILABLE",
        message: expect.stringContaining("EIO") as string,
      });
    }
    expect(await namesIn(store)).toEqual([]);
  });

  test("without a folder that can be made refuses to open", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "file");
    await writeFile(file, "");
    await expect(openFilesystemBlobs({ dir: join(file, "artifacts"), log })).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
    });
  });
});

describe("a process that is killed while it stores", () => {
  test("leaves nothing under the name, and its draft to the next that opens", async () => {
    await using folder = await temporaryFolder();
    const child = spawn(
      process.execPath,
      [fileURLToPath(import.meta.resolve("./half-put.ts")), folder.path, "ws_a/art_b/c"],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(child.stdout, "data");
    expect(await draftsIn(folder.path)).toHaveLength(1);
    child.kill("SIGKILL");
    await once(child, "exit");

    const young = await openFilesystemBlobs({ dir: folder.path, log });
    expect(await draftsIn(folder.path)).toHaveLength(1);
    expect(await namesIn(young)).toEqual([]);
    await expect(readAll(young, "ws_a/art_b/c", { from: 0, to: 1 })).rejects.toThrow("there is no blob");
    await expect(access(join(folder.path, "ws_a"))).rejects.toThrow("ENOENT");

    await openFilesystemBlobs({ dir: folder.path, leftOverAgeMs: 0, log });
    expect(await draftsIn(folder.path)).toEqual([]);
  });
});
