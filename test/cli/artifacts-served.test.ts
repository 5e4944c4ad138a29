import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { type Commands, createCommands } from "./commands.ts";
import { spawnSignalbox } from "./signalbox.ts";

let installation: Installation;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let cli: Commands;
const workspaceId = newWorkspaceId();
beforeAll(async () => {
  folder = await temporaryFolder();
  installation = await openInstallation();
  cli = createCommands(installation.url, workspaceId);
});
afterAll(async () => {
  await installation[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

interface JsonArtifact {
  readonly artifactId: string;
  readonly sha256: string;
  readonly sizeBytes: string;
  readonly status: string;
}

/** A file of random bytes. */
async function fileOf(name: string, sizeBytes: number) {
  const bytes = randomBytes(sizeBytes);
  const path = join(folder.path, name);
  await writeFile(path, bytes);
  return { path, bytes };
}

test("what is uploaded in chunks is downloaded as it was, and the same command again answers the same artifact", async () => {
  const { path, bytes } = await fileOf("large.bin", 3_500_000);
  const upload = ["artifacts", "upload", path, "--content-type", "text/csv"];
  const artifact = await cli.json<JsonArtifact>(...upload);
  expect(artifact).toMatchObject({ sizeBytes: "3500000", status: "ARTIFACT_STATUS_AVAILABLE" });
  expect((await cli.json<JsonArtifact>(...upload)).artifactId).toBe(artifact.artifactId);
  const to = `${path}.back`;
  await cli.text("artifacts", "download", artifact.artifactId, "-o", to);
  expect((await readFile(to)).equals(bytes)).toBe(true);
  await until(async () => (await cli.list("artifacts", "list")).length === 1, { what: "the list to have it" });
});

test("what somebody has begun to download is only fetched from there on", async () => {
  const { path, bytes } = await fileOf("begun.bin", 200_000);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path);
  const to = `${path}.back`;
  await writeFile(`${to}.${artifactId}.part`, bytes.subarray(0, 150_000));
  await cli.text("artifacts", "download", artifactId, "-o", to);
  expect((await readFile(to)).equals(bytes)).toBe(true);
  await until(async () => (await cli.text("artifacts", "access", artifactId)).includes("from byte 150000"), {
    what: "the access log to say from where",
  });
});

test("stdin is stored as it comes", async () => {
  const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
  const text = "line\n".repeat(400_000);
  const { stdout } = await spawnSignalbox(["artifacts", "upload", "-", "--name", "a.txt", "--json"], env, text);
  const { artifactId, sizeBytes } = JSON.parse(stdout) as JsonArtifact;
  expect(sizeBytes).toBe("2000000");
  const to = join(folder.path, "stdin.back");
  await cli.text("artifacts", "download", artifactId, "-o", to);
  expect(await readFile(to, "utf8")).toBe(text);
});

test("what is sealed to a recipient opens with its identity only", async () => {
  const identity = await generateIdentity();
  const { path, bytes } = await fileOf("sealed.bin", 1_500_000);
  const key = join(folder.path, "key.txt");
  await writeFile(key, `${identity}\n`);
  const recipient = await identityToRecipient(identity);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path, "--recipient", recipient);
  const to = `${path}.back`;
  expect((await cli.run("artifacts", "download", artifactId, "-o", to)).code).toBe(exitCodes.usage);
  await cli.text("artifacts", "download", artifactId, "-o", to, "--identity", key);
  expect((await readFile(to)).equals(bytes)).toBe(true);
});

test("somebody else reads what was granted to them, until that is revoked", async () => {
  const { path, bytes } = await fileOf("granted.bin", 5_000);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path, "--as", "user:ann");
  const to = `${path}.back`;
  const download = () => cli.run("artifacts", "download", artifactId, "-o", to, "--force", "--as", "user:bob");
  expect(await download()).toMatchObject({ code: exitCodes.failed });
  const grant = ["artifacts", "grant", artifactId, "user:bob", "--expires-in", "1h", "--as", "user:ann"];
  const { grantId } = await cli.json<{ grantId: string }>(...grant);
  expect((await download()).code).toBe(exitCodes.ok);
  expect((await readFile(to)).equals(bytes)).toBe(true);
  await cli.text("artifacts", "revoke", artifactId, grantId, "--as", "user:ann");
  expect((await download()).stderr).toContain("PERMISSION_DENIED");
  expect(await cli.text("artifacts", "grants", artifactId)).toContain("revoked");
});

test("a link leads to the bytes until it is taken back", async () => {
  const { path, bytes } = await fileOf("linked.bin", 5_000);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path);
  const { url, link } = await cli.json<{ url: string; link: { linkId: string } }>("artifacts", "link", artifactId);
  const response = await fetch(url);
  expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
  await cli.text("artifacts", "unlink", artifactId, link.linkId);
  expect((await fetch(url)).ok).toBe(false);
});

test("a key that was granted access proves itself", async () => {
  const { path, bytes } = await fileOf("proved.bin", 5_000);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path);
  const key = join(folder.path, "ed25519.hex");
  // The first key of RFC 8032, section 7.1.
  await writeFile(key, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  const publicKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
  const prove = ["artifacts", "prove", artifactId, "--ed25519-key", key];
  expect((await cli.run(...prove)).stderr).toContain("PERMISSION_DENIED");
  await cli.text("artifacts", "grant", artifactId, `ed25519:${publicKey}`);
  const { url } = await cli.json<{ url: string }>(...prove);
  expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(bytes)).toBe(true);
});

test("what was deleted is restored, what is held stays, what was destroyed is gone", async () => {
  const { path } = await fileOf("life.bin", 100);
  const { artifactId } = await cli.json<JsonArtifact>("artifacts", "upload", path);
  const statusOf = async (...args: string[]) => (await cli.json<JsonArtifact>("artifacts", ...args)).status;
  expect(await statusOf("delete", artifactId)).toBe("ARTIFACT_STATUS_DELETED");
  const to = `${path}.back`;
  const gone = await cli.run("artifacts", "download", artifactId, "-o", to);
  expect(gone.stderr).toMatch(/\(ARTIFACT_EXPIRED\)\nhint: .*restore/);
  expect((await cli.run("artifacts", "upload", path)).stderr).toContain("not available any more");
  expect(await statusOf("restore", artifactId)).toBe("ARTIFACT_STATUS_AVAILABLE");
  await cli.text("artifacts", "hold", artifactId, "--reason", "case 12");
  expect((await cli.run("artifacts", "delete", artifactId)).stderr).toContain("INVALID_STATE");
  await cli.text("artifacts", "release", artifactId, "--reason", "closed");
  expect(await statusOf("delete", artifactId, "--permanent", "--yes")).toBe("ARTIFACT_STATUS_PURGED");
  expect(await cli.text("artifacts", "usage")).toMatch(/^stored +[\d.]+ .?B of 107\.4 GB/);
});
