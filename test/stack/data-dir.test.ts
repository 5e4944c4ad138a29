import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDataDir } from "../../src/stack/data-dir.ts";
import { temporaryFolder } from "./folder.ts";

test("creates the folder and its parents for this user only", async () => {
  await using parent = await temporaryFolder();
  await using dataDir = await openDataDir(join(parent.path, "a", "b"));
  expect((await stat(dataDir.path)).mode & 0o777).toBe(0o700);
});

test("refuses a folder that is in use, naming the process and the way out", async () => {
  await using parent = await temporaryFolder();
  await using dataDir = await openDataDir(parent.path);
  await expect(openDataDir(parent.path)).rejects.toMatchObject({
    name: "StackError",
    message: `the data folder ${dataDir.path} is in use by process ${process.pid}`,
    hint: `Stop it (kill ${process.pid}), or choose another folder with SIGNALBOX_DATA_DIR.`,
  });
});

test("gives the folder back when it is disposed, once or twice", async () => {
  await using parent = await temporaryFolder();
  const first = await openDataDir(parent.path);
  await first[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
  await using second = await openDataDir(parent.path);
  expect(await readFile(join(second.path, "lock.pid"), "utf8")).toBe(`${process.pid}\n`);
});

test("takes over the folder of a process that died, even when its pid is taken again", async () => {
  await using parent = await temporaryFolder();
  await writeFile(join(parent.path, "lock"), "");
  await writeFile(join(parent.path, "lock.pid"), `${process.ppid}\n`);
  await using dataDir = await openDataDir(parent.path);
  expect(await readFile(join(dataDir.path, "lock.pid"), "utf8")).toBe(`${process.pid}\n`);
});

test("refuses a path that is a file", async () => {
  await using parent = await temporaryFolder();
  const file = join(parent.path, "file");
  await writeFile(file, "");
  await expect(openDataDir(file)).rejects.toThrow(`the data folder ${file} cannot be used: it is a file`);
  await expect(openDataDir(join(file, "below"))).rejects.toThrow("a part of its path is a file");
});

// Root may write everywhere, except on a file system that nobody may write to.
test.skipIf(process.platform !== "linux")("refuses a folder that this user may not write to", async () => {
  await expect(openDataDir("/sys/kernel")).rejects.toMatchObject({
    name: "StackError",
    hint: expect.stringContaining("choose another folder with SIGNALBOX_DATA_DIR") as unknown,
  });
});
