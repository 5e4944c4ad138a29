import { chmod, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CliError } from "../../src/cli/cli-error.ts";
import { leaseSecret } from "../../src/cli/lease-secret.ts";
import { temporaryFolder } from "../stack/folder.ts";

const containing = (text: string): unknown => expect.stringContaining(text);

test("is the one that is set, and leaves the data folder alone", async () => {
  await using folder = await temporaryFolder();
  const secret = new Uint8Array(32).fill(7);
  expect(await leaseSecret({ secret, dataDir: folder.path })).toBe(secret);
  expect(await readdir(folder.path)).toEqual([]);
});

test("is created once, with 32 random bytes that only this user may read", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const first = await leaseSecret({ secret: undefined, dataDir });
  expect(first).toHaveLength(32);
  expect(await leaseSecret({ secret: undefined, dataDir })).toEqual(first);
  expect((await stat(join(dataDir, "lease-secret"))).mode & 0o777).toBe(0o600);
  expect(await readdir(dataDir)).toEqual(["lease-secret"]);
});

test("is the same for all who ask at the same time", async () => {
  await using folder = await temporaryFolder();
  const asked = Array.from({ length: 20 }, () => leaseSecret({ secret: undefined, dataDir: folder.path }));
  const secrets = new Set((await Promise.all(asked)).map((secret) => Buffer.from(secret).toString("hex")));
  expect(secrets.size).toBe(1);
});

test("is never made up when the file is damaged", async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "lease-secret"), "short\n");
  const secret = leaseSecret({ secret: undefined, dataDir: folder.path });
  await expect(secret).rejects.toThrow("does not hold 32 bytes");
  await expect(secret).rejects.toBeInstanceOf(CliError);
});

test("says how to do without the folder when that can not be used", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "file");
  await writeFile(file, "");
  await chmod(file, 0o400);
  const error: unknown = await leaseSecret({ secret: undefined, dataDir: file }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ hint: containing("SIGNALBOX_SECRET") });
});
