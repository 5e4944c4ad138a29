import { execFileSync } from "node:child_process";
import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  type FilesystemOptions,
  filesystemReadPack,
  filesystemWritePack,
} from "../../../src/tools/packs/filesystem.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { errorOf, resultOf, scopeOf, toolOf } from "../calling.ts";

const runId = "run_01JABCDEFGHJKMNPQRSTVWXYZ0";
let place: string;
let baseDir: string;
/** The run's folder. */
let folder: string;

beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), "signalbox-files-"));
  baseDir = join(place, "files");
  folder = join(baseDir, runId);
  await writeFile(join(place, "secret"), "the secret");
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(place, { recursive: true, force: true });
});

function tools(options: Omit<FilesystemOptions, "baseDir"> = {}): { read: Tool; list: Tool; write: Tool } {
  const all = { ...options, baseDir };
  const reads = filesystemReadPack(all);
  return {
    read: toolOf(reads, "filesystem.read"),
    list: toolOf(reads, "filesystem.list"),
    write: toolOf(filesystemWritePack(all), "filesystem.write"),
  };
}

test("writes a file, makes the folders on the way, and reads and lists it", async () => {
  const { read, list, write } = tools();
  expect(await resultOf(list, {})).toEqual({ entries: [] });
  const written = await resultOf(write, { path: "notes/2026/a.md", content: "grüß" });
  expect(written).toEqual({ path: "notes/2026/a.md", sizeBytes: 6 });
  expect(await resultOf(read, { path: "notes/2026/a.md" })).toEqual({ ...(written as object), content: "grüß" });
  expect(await resultOf(list, {})).toEqual({ entries: [{ name: "notes", type: "folder", sizeBytes: 0 }] });
  const entries = [{ name: "a.md", type: "file", sizeBytes: 6 }];
  expect(await resultOf(list, { path: "notes/2026" })).toEqual({ entries });
});

test("replaces a file as a whole, and repeating that changes nothing", async () => {
  const { write } = tools();
  await resultOf(write, { path: "a", content: "a long text" });
  await resultOf(write, { path: "a", content: "short" });
  await resultOf(write, { path: "a", content: "short" });
  expect(await readFile(join(folder, "a"), "utf8")).toBe("short");
  expect(await readdir(folder)).toEqual(["a"]);
});

test("keeps the files of runs apart", async () => {
  const { read, write } = tools();
  await resultOf(write, { path: "a", content: "mine" });
  const other = scopeOf({ runId: "run_01JABCDEFGHJKMNPQRSTVWXYZ1" });
  expect((await errorOf(read, { path: "a" }, other)).code).toBe("FILE_NOT_FOUND");
});

test("moves bytes that are no text as base64", async () => {
  const { read, write } = tools();
  const content = Buffer.from([0, 255, 128, 10]).toString("base64");
  await resultOf(write, { path: "b", content, encoding: "base64" });
  expect(await resultOf(read, { path: "b", encoding: "base64" })).toEqual({ path: "b", content, sizeBytes: 4 });
  expect(await errorOf(read, { path: "b" })).toMatchObject({ code: "FILE_NOT_TEXT" });
  const error = await errorOf(write, { path: "b", content: "%%%", encoding: "base64" });
  expect(error.code).toBe("TOOL_ARGUMENTS_INVALID");
});

const escapes = [
  "../secret",
  "a/../../secret",
  "a/..",
  "..",
  ".",
  "./a",
  "/etc/passwd",
  "//etc/passwd",
  "a//b",
  "a/",
  "~/../a/./b",
  "a\u0000b",
  "a\nb",
  "..\\secret",
  "C:\\Windows",
  "c:a",
  "\ud800",
  "a/" + "b/".repeat(40) + "c",
  "x".repeat(300),
  ".signalbox-x",
  ".SIGNALBOX-x",
];
for (const path of escapes) {
  test(`does not take the path ${JSON.stringify(path.slice(0, 40))}`, async () => {
    const { read, write, list } = tools();
    for (const error of [
      await errorOf(read, { path }),
      await errorOf(write, { path, content: "x" }),
      ...(path === "." ? [] : [await errorOf(list, { path })]),
    ]) {
      expect(["PATH_NOT_ALLOWED", "TOOL_ARGUMENTS_INVALID"]).toContain(error.code);
    }
    expect((await readdir(place)).toSorted()).toEqual(["secret"]);
  });
}

test("does not take paths of another type", async () => {
  const { read } = tools();
  for (const path of [["a"], { toString: "a" }, 1, null, ""]) {
    expect((await errorOf(read, { path })).code).toBe("TOOL_ARGUMENTS_INVALID");
  }
});

test("does not take a run id that is no name of a folder", async () => {
  const { write } = tools();
  for (const bad of ["..", "../x", "", "a/b", "a\u0000"]) {
    const error = await errorOf(write, { path: "a", content: "x" }, scopeOf({ runId: bad }));
    expect(error.code).toBe("PATH_NOT_ALLOWED");
  }
});

for (const platform of ["linux", "darwin"] as const) {
  test(`follows no symbolic link to a file or folder, nor in place of the run's own folder, as on ${platform}`, async () => {
    vi.spyOn(process, "platform", "get").mockReturnValue(platform);
    const { read, write, list } = tools();
    await mkdir(folder, { recursive: true });
    await symlink(join(place, "secret"), join(folder, "file"));
    await symlink(place, join(folder, "folder"));
    await symlink("file", join(folder, "inside"));
    for (const path of ["file", "folder/secret", "inside"]) {
      expect((await errorOf(read, { path })).code).toBe("PATH_NOT_ALLOWED");
    }
    expect((await errorOf(list, { path: "folder" })).code).toBe("PATH_NOT_ALLOWED");
    expect((await errorOf(write, { path: "folder/new", content: "x" })).code).toBe("PATH_NOT_ALLOWED");
    const own = "run_01JABCDEFGHJKMNPQRSTVWXYZ2";
    await symlink(place, join(baseDir, own));
    const scope = scopeOf({ runId: own });
    expect((await errorOf(read, { path: "secret" }, scope)).code).toBe("PATH_NOT_ALLOWED");
    expect((await errorOf(write, { path: "new", content: "x" }, scope)).code).toBe("PATH_NOT_ALLOWED");
    expect((await readdir(place)).toSorted()).toEqual(["files", "secret"]);
  });
}

test("writing over a symbolic link replaces the link and not what it points to", async () => {
  const { write } = tools();
  await mkdir(folder, { recursive: true });
  await symlink(join(place, "secret"), join(folder, "file"));
  await resultOf(write, { path: "file", content: "mine" });
  expect(await readFile(join(place, "secret"), "utf8")).toBe("the secret");
  expect(await readFile(join(folder, "file"), "utf8")).toBe("mine");
});

test("opens plain files only: no hard link, no folder, no pipe that nobody writes to", async () => {
  const { read } = tools();
  await mkdir(join(folder, "folder"), { recursive: true });
  await link(join(place, "secret"), join(folder, "hard"));
  execFileSync("sh", ["-c", 'mkfifo "$0"', join(folder, "pipe")]);
  for (const path of ["hard", "folder", "pipe"]) {
    expect((await errorOf(read, { path })).code).toBe("PATH_NOT_ALLOWED");
  }
});

test("a file on the way is no folder, and a folder is no file to write", async () => {
  const { read, write } = tools();
  await resultOf(write, { path: "a/b", content: "x" });
  expect((await errorOf(read, { path: "a/b/c" })).code).toBe("PATH_NOT_ALLOWED");
  expect((await errorOf(write, { path: "a/b/c", content: "x" })).code).toBe("PATH_NOT_ALLOWED");
  expect((await errorOf(write, { path: "a", content: "x" })).code).toBe("PATH_NOT_ALLOWED");
  expect(await readdir(folder)).toEqual(["a"]);
  expect((await errorOf(read, { path: "nothing/here" })).code).toBe("FILE_NOT_FOUND");
});

test("holds the limits: of a file, of the folder's bytes and of its entries", async () => {
  const { read, write } = tools({ maxFileBytes: 100, maxFolderBytes: 250, maxEntries: 3 });
  const error = await errorOf(write, { path: "a", content: "ä".repeat(51) });
  expect(error).toMatchObject({ code: "FILE_TOO_LARGE" });
  await resultOf(write, { path: "a", content: "x".repeat(100) });
  await resultOf(write, { path: "b", content: "x".repeat(100) });
  expect((await errorOf(write, { path: "c", content: "x".repeat(51) })).code).toBe("FOLDER_FULL");
  await resultOf(write, { path: "c", content: "x" });
  expect((await errorOf(write, { path: "d", content: "x" })).code).toBe("FOLDER_FULL");
  await truncate(join(folder, "a"), 5_000_000_000);
  expect((await errorOf(read, { path: "a" })).code).toBe("FILE_TOO_LARGE");
});

test("a crash between writing and renaming leaves nothing behind once the call is repeated", async () => {
  const { write, list } = tools();
  const left = join(folder, ".signalbox-tc_01JABCDEFGHJKMNPQRSTVWXYZ0");
  await mkdir(folder, { recursive: true });
  await writeFile(left, "half");
  expect(await resultOf(list, {})).toEqual({ entries: [] });
  await resultOf(write, { path: "a", content: "whole" });
  expect(await readdir(folder)).toEqual(["a"]);
});

test("shows names and types only of what else stands in the folder", async () => {
  const { list } = tools();
  await mkdir(folder, { recursive: true });
  await symlink(join(place, "secret"), join(folder, "link"));
  expect(await resultOf(list, {})).toEqual({ entries: [{ name: "link", type: "other", sizeBytes: 0 }] });
});

test("a folder that is swapped for a link while it is used leads nowhere", async () => {
  const { read, write } = tools({ maxEntries: 100_000 });
  const outside = join(place, "outside");
  await mkdir(outside);
  await writeFile(join(outside, "a"), "the secret");
  await mkdir(join(folder, "dir"), { recursive: true });
  await writeFile(join(folder, "dir", "a"), "mine");
  let swapping = true;
  const swaps = (async () => {
    while (swapping) await swap(join(folder, "dir"), outside);
  })();
  const seen = new Set<string>();
  for (let n = 0; n < 300; n++) {
    const reading = resultOf(read, { path: "dir/a" }).then((result) => (result as { content: string }).content);
    seen.add(await reading.catch(() => "failed"));
    const writing = resultOf(write, { path: `dir/w${n}`, content: "x" });
    seen.add(
      await writing.then(
        () => "written",
        () => "failed",
      ),
    );
  }
  swapping = false;
  await swaps;
  expect(seen).not.toContain("the secret");
  expect(seen).toContain("mine");
  expect(seen).toContain("written");
  expect(seen).toContain("failed");
  expect(await readdir(outside)).toEqual(["a"]);
}, 60_000);

test("fails clearly when the base folder is a file", async () => {
  const options = { baseDir: join(place, "secret") };
  const write = toolOf(filesystemWritePack(options), "filesystem.write");
  const read = toolOf(filesystemReadPack(options), "filesystem.read");
  expect((await errorOf(write, { path: "a", content: "x" })).code).toBe("PATH_NOT_ALLOWED");
  expect((await errorOf(read, { path: "a" })).code).toBe("PATH_NOT_ALLOWED");
});

test("works the same where folders have no handles", async () => {
  vi.spyOn(process, "platform", "get").mockReturnValue("darwin");
  const { read, write, list } = tools();
  await resultOf(write, { path: "a/b", content: "x" });
  expect(await resultOf(read, { path: "a/b" })).toMatchObject({ content: "x" });
  expect(await resultOf(list, { path: "a" })).toEqual({ entries: [{ name: "b", type: "file", sizeBytes: 1 }] });
});

/** Puts a link to `target` in the place of a folder for a moment, whatever others make there meanwhile. */
async function swap(path: string, target: string): Promise<void> {
  const away = `${path}-away`;
  await rename(path, away);
  await symlink(target, path).catch(() => {});
  for (;;) {
    await rm(path, { recursive: true, force: true }).catch(() => {});
    const isBack = await rename(away, path).then(
      () => true,
      () => false,
    );
    if (isBack) return;
  }
}
