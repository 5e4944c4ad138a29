import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { type PackagedNats, findNatsServer } from "../../src/stack/nats-binary.ts";
import { script, temporaryFolder } from "./folder.ts";

const log = pino({ level: "silent" });
const contents = "not really a server";
const sha256 = createHash("sha256").update(contents).digest("hex");
const notInstalled: PackagedNats = { path: undefined, version: "2.11.6", sha256 };

async function natsServer(folder: string, version: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  return script(join(folder, "nats-server"), `echo "nats-server: v${version}"`);
}

async function packagedIn(folder: string): Promise<PackagedNats> {
  const path = join(folder, "packaged");
  await writeFile(path, contents, { mode: 0o444 });
  return { path, version: "2.11.6", sha256 };
}

describe("SIGNALBOX_NATS_SERVER", () => {
  test("wins over PATH", async () => {
    await using folder = await temporaryFolder();
    const chosen = await natsServer(join(folder.path, "chosen"), "2.12.0");
    await natsServer(join(folder.path, "path"), "2.15.1");
    const env = { SIGNALBOX_NATS_SERVER: chosen, PATH: join(folder.path, "path") };
    const found = await findNatsServer({ env, binDir: folder.path, log, packaged: notInstalled });
    expect(found).toEqual({ path: chosen, version: "2.12.0" });
  });

  test("is refused when it is too old, whatever else there is", async () => {
    await using folder = await temporaryFolder();
    const chosen = await natsServer(folder.path, "2.9.10");
    const search = findNatsServer({ env: { SIGNALBOX_NATS_SERVER: chosen }, binDir: folder.path, log });
    await expect(search).rejects.toThrow(`${chosen} is version 2.9.10, older than 2.11`);
  });

  test.each([
    ["missing", undefined, "is not an executable file"],
    ["not a nats-server", "echo hello", "does not tell its version"],
    ["broken", "exit 3", "cannot be run"],
  ])("is refused when it is %s", async (_, line, refusal) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "nats-server");
    if (line !== undefined) await script(path, line);
    const search = findNatsServer({ env: { SIGNALBOX_NATS_SERVER: path }, binDir: folder.path, log });
    await expect(search).rejects.toThrow(`${path} ${refusal}`);
  });
});

test("the first nats-server on PATH that is new enough is taken", async () => {
  await using folder = await temporaryFolder();
  const folders = ["none", "old", "new", "newer"].map((name) => join(folder.path, name));
  await natsServer(join(folder.path, "old"), "2.9.10");
  const expected = await natsServer(join(folder.path, "new"), "2.11.0");
  await natsServer(join(folder.path, "newer"), "3.0.0");
  const env = { PATH: folders.join(delimiter) };
  const found = await findNatsServer({ env, binDir: folder.path, log, packaged: notInstalled });
  expect(found).toEqual({ path: expected, version: "2.11.0" });
});

test("the packaged server is taken when those on PATH are too old, as a runnable copy", async () => {
  await using folder = await temporaryFolder();
  await natsServer(join(folder.path, "old"), "2.9.10");
  const search = {
    env: { PATH: join(folder.path, "old") },
    binDir: join(folder.path, "bin"),
    log,
    packaged: await packagedIn(folder.path),
  };
  const found = await findNatsServer(search);
  expect(found).toEqual({ path: join(folder.path, "bin", "nats-server"), version: "2.11.6" });
  expect(await readFile(found.path, "utf8")).toBe(contents);
});

test("a copy that was changed is replaced by the packaged server", async () => {
  await using folder = await temporaryFolder();
  const search = { env: {}, binDir: join(folder.path, "bin"), log, packaged: await packagedIn(folder.path) };
  const { path } = await findNatsServer(search);
  await writeFile(path, "something else");
  await findNatsServer(search);
  expect(await readFile(path, "utf8")).toBe(contents);
});

test("a packaged server that was tampered with is refused and not copied", async () => {
  await using folder = await temporaryFolder();
  const packaged = await packagedIn(folder.path);
  await chmod(join(folder.path, "packaged"), 0o644);
  await writeFile(join(folder.path, "packaged"), `${contents}!`);
  const binDir = join(folder.path, "bin");
  const search = findNatsServer({ env: {}, binDir, log, packaged });
  await expect(search).rejects.toThrow("is not the file that was published: its SHA-256 differs");
  await expect(readFile(join(binDir, "nats-server"))).rejects.toThrow("ENOENT");
});

test("without any nats-server the error says what was seen and how to get one", async () => {
  await using folder = await temporaryFolder();
  const old = await natsServer(folder.path, "2.9.10");
  const search = findNatsServer({ env: { PATH: folder.path }, binDir: folder.path, log, packaged: notInstalled });
  await expect(search).rejects.toMatchObject({
    name: "StackError",
    message: expect.stringContaining(`${old} is version 2.9.10, older than 2.11`) as unknown,
    hint: expect.stringMatching(/brew install nats-server[^]*apt install nats-server[^]*docker run/) as unknown,
  });
});
