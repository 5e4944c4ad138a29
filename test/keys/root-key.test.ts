import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createRootKeyCommand } from "../../src/keys/root-key-command.ts";
import { createRootKey, type RootKey } from "../../src/keys/root-key.ts";
import { newKey } from "../../src/keys/wrapping.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { hex } from "./world.ts";

/** A KMS that turns every bit around. */
const kms = `
const [verb] = process.argv.slice(2);
if (!["wrap", "unwrap"].includes(verb)) process.exit(2);
let text = "";
for await (const chunk of process.stdin) text += chunk;
process.stdout.write(Buffer.from(text, "base64").map((byte) => byte ^ 0xff).toString("base64") + "\\n");
`;

async function openKms(folder: string): Promise<RootKey> {
  const file = join(folder, "kms.mjs");
  await writeFile(file, kms);
  return createRootKeyCommand({ command: `"${process.execPath}" "${file}"`, env: {} });
}

test.each([
  ["a key in this process", async () => createRootKey(newKey())],
  ["a command", openKms],
])("%s opens what it has wrapped, under the same label only", async (_name, open) => {
  await using folder = await temporaryFolder();
  const rootKey = await open(folder.path);
  const key = newKey();
  const wrapped = await rootKey.wrap(key, "ws_a key_1");
  expect(hex(wrapped)).not.toContain(hex(key));
  expect(hex(await rootKey.unwrap(wrapped, "ws_a key_1"))).toBe(hex(key));
  await expect(rootKey.unwrap(wrapped, "ws_b key_1")).rejects.toMatchObject({ reason: "ARTIFACT_CORRUPT" });
  const damaged = Uint8Array.from(wrapped);
  damaged[40] = (damaged[40] ?? 0) ^ 1;
  await expect(rootKey.unwrap(damaged, "ws_a key_1")).rejects.toMatchObject({ reason: "ARTIFACT_CORRUPT" });
});

test("a command that fails, is not there, answers nonsense or takes too long is a store that is away", async () => {
  await using folder = await temporaryFolder();
  const talker = join(folder.path, "talker");
  await writeFile(talker, "#!/bin/sh\necho '? no base64'\n");
  await chmod(talker, 0o700);
  for (const command of ["false", "/nowhere/kms", talker, "sleep 60 #"]) {
    const rootKey = createRootKeyCommand({ command, env: { PATH: process.env["PATH"] }, timeoutMs: 300 });
    await expect(rootKey.wrap(newKey(), "a")).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  }
});

test("what a command complains of is for the log, not for a client, and never the key", async () => {
  const key = newKey();
  const complaining = createRootKeyCommand({ command: "echo no access to alias/x >&2; exit 3; #", env: {} });
  const error: unknown = await complaining.wrap(key, "a").catch((thrown: unknown) => thrown);
  expect(String(error)).toBe(
    "SignalboxError: the root key command ended with 3; repeat with backoff, the server's log says more",
  );
  expect(error).toMatchObject({ cause: { message: "no access to alias/x" } });
});

test("refuses a root key of another length", () => {
  expect(() => createRootKey(new Uint8Array(16))).toThrow("has 32 bytes, not 16");
});
