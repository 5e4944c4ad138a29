import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CliError } from "../../src/cli/cli-error.ts";
import { openRootKeys, type RootKeySettings } from "../../src/cli/root-keys.ts";
import { temporaryFolder } from "../stack/folder.ts";

const none = { rootKey: undefined, rootKeyFile: undefined, rootKeyCommand: undefined, rootKeyOld: undefined };
const open = (settings: Partial<RootKeySettings> & { dataDir: string }, mayCreate = true) =>
  openRootKeys({ ...none, ...settings }, { env: {}, mayCreate });

test("is created once in the data folder, where only this user may read it", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const opened = await Promise.all(Array.from({ length: 10 }, () => open({ dataDir })));
  expect(new Set(opened.map(({ current }) => current.id)).size).toBe(1);
  expect(await readdir(dataDir)).toEqual(["root.key"]);
  expect((await stat(join(dataDir, "root.key"))).mode & 0o777).toBe(0o600);
  expect(Buffer.from(await readFile(join(dataDir, "root.key"), "utf8"), "base64")).toHaveLength(32);
});

test("is not created where an installation has another one already", async () => {
  await using folder = await temporaryFolder();
  await expect(open({ dataDir: folder.path }, false)).rejects.toThrow("ENOENT");
  expect(await readdir(folder.path)).toEqual([]);
});

test("is refused when others may read it, when it is damaged, and when a file that was named is not there", async () => {
  await using folder = await temporaryFolder();
  const dataDir = folder.path;
  const path = join(dataDir, "root.key");
  await open({ dataDir });
  await chmod(path, 0o640);
  await expect(open({ dataDir })).rejects.toThrow("others may read it (mode 640); run chmod 600");
  await chmod(path, 0o600);
  await writeFile(path, "short\n");
  await expect(open({ dataDir })).rejects.toThrow("does not hold 32 bytes in base64");
  const missing = open({ dataDir, rootKeyFile: join(dataDir, "elsewhere.key") });
  await expect(missing).rejects.toThrow("ENOENT");
  await expect(missing).rejects.toBeInstanceOf(CliError);
  expect(await readdir(dataDir)).toEqual(["root.key"]);
});

test("the same key has the same id wherever it comes from", async () => {
  await using folder = await temporaryFolder();
  const dataDir = folder.path;
  const { current } = await open({ dataDir });
  const path = join(dataDir, "root.key");
  const text = (await readFile(path, "utf8")).trim();
  expect((await open({ dataDir, rootKeyFile: path })).current.id).toBe(current.id);
  expect((await open({ dataDir, rootKey: new Uint8Array(Buffer.from(text, "base64")) })).current.id).toBe(current.id);
  for (const rootKeyOld of [text, `file:${path}`]) {
    expect((await open({ dataDir, rootKeyOld })).old.map(({ id }) => id)).toEqual([current.id]);
  }
  const { old } = await open({ dataDir, rootKeyOld: "command:kms --old" });
  expect(old.map(({ id }) => id)).toEqual([expect.stringMatching(/^command-[0-9a-f]{8}$/)]);
});
