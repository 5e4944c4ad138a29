import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  AccessMethod,
  AccessOutcome,
  type Artifact,
  ArtifactEncryptionSchema,
  ArtifactSchema,
  ArtifactStatus,
  ArtifactVisibility,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import type { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { runView } from "../../src/cli/views/run-view.ts";
import { RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { someBytes } from "../sealing/bytes.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { openFakeServer } from "./fake-server.ts";
import { spawnSignalbox } from "./signalbox.ts";

const artifactId = "art_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const grantId = "grant_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const linkId = "link_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const time = timestampFromMs(Date.UTC(2026, 10, 21, 8));
const alice = { type: PrincipalType.USER, id: "alice" };
const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

type Changes = Partial<Omit<Artifact, "$typeName" | "$unknown">>;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder[Symbol.asyncDispose]());

function artifactOf(bytes: Uint8Array, changes: Changes = {}): Artifact {
  return create(ArtifactSchema, {
    artifactId,
    runId,
    name: "report.bin",
    contentType: "application/octet-stream",
    sizeBytes: BigInt(bytes.length),
    sha256: hashOf(bytes),
    status: ArtifactStatus.AVAILABLE,
    visibility: ArtifactVisibility.RESTRICTED,
    createTime: time,
    createBy: alice,
    expireTime: time,
    ...changes,
  });
}

const openArtifacts = (artifacts: Partial<ServiceImpl<typeof ArtifactService>>) => openFakeServer({ artifacts });

/** A server from which this artifact can be downloaded; breaks off after `stopAfter` bytes, once, for good. */
async function openShelf(bytes: Uint8Array, changes: Changes = {}, sent: Uint8Array = bytes) {
  const offsets: bigint[] = [];
  const state = { stopAfter: Infinity };
  const server = await openArtifacts({
    getArtifact: () => ({ artifact: artifactOf(bytes, changes) }),
    async *downloadArtifact({ offset }) {
      offsets.push(offset);
      await Promise.resolve();
      yield { frame: { case: "header", value: { artifact: artifactOf(bytes, changes) } } };
      for (let from = Number(offset); from < sent.length; from += 1_000) {
        if (from >= state.stopAfter) throw new SignalboxError("ARTIFACT_CORRUPT", "the disk is broken");
        yield { frame: { case: "data", value: sent.subarray(from, from + 1_000) } };
      }
    },
  });
  return { server, offsets, state };
}

test("download writes the file for its owner alone, under a name that leads nowhere else", async () => {
  const bytes = someBytes(5_000);
  const { server } = await openShelf(bytes, { name: "../../etc/passwd" });
  await using _server = server;
  const own = join(folder.path, "own");
  await mkdir(own);
  const before = process.cwd();
  process.chdir(own);
  try {
    const { code, stdout } = await server.run("artifacts", "download", artifactId);
    expect(code).toBe(exitCodes.ok);
    expect(stdout).toContain(`wrote _._.._etc_passwd: 5.0 kB, SHA-256 ${hashOf(bytes)}`);
  } finally {
    process.chdir(before);
  }
  const [name = ""] = await readdir(own);
  expect((await readFile(join(own, name))).equals(bytes)).toBe(true);
  expect((await stat(join(own, name))).mode & 0o777).toBe(0o600);
});

test("a download that broke off goes on where it stopped when the command is repeated", async () => {
  const bytes = someBytes(5_500);
  const { server, offsets, state } = await openShelf(bytes);
  await using _server = server;
  const path = join(folder.path, "resumed.bin");
  state.stopAfter = 3_000;
  const { code, stderr } = await server.run("artifacts", "download", artifactId, "-o", path);
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toContain("(ARTIFACT_CORRUPT)\nhint: Its producer");
  expect((await stat(`${path}.${artifactId}.part`)).size).toBe(3_000);
  state.stopAfter = Infinity;
  await server.text("artifacts", "download", artifactId, "-o", path);
  expect(offsets).toEqual([0n, 3_000n]);
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect((await readdir(folder.path)).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("a download that is refused leaves nothing beside its place", async () => {
  await using server = await openArtifacts({
    getArtifact: () => ({ artifact: artifactOf(someBytes(10)) }),
    // oxlint-disable-next-line require-yield
    async *downloadArtifact() {
      throw new SignalboxError("PERMISSION_DENIED", "you may not read it");
    },
  });
  const path = join(folder.path, "refused.bin");
  expect((await server.run("artifacts", "download", artifactId, "-o", path)).code).toBe(exitCodes.failed);
  expect((await readdir(folder.path)).filter((name) => name.startsWith("refused"))).toEqual([]);
});

test("bytes that are not those on record become no file", async () => {
  const { server } = await openShelf(someBytes(2_000), {}, Buffer.alloc(2_000));
  await using _server = server;
  const path = join(folder.path, "wrong.bin");
  const { code, stderr } = await server.run("artifacts", "download", artifactId, "-o", path);
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/2000 bytes of art_\w+ came, with the SHA-256 .*\nhint: Nothing was kept/);
  expect((await readdir(folder.path)).filter((name) => name.startsWith("wrong"))).toEqual([]);
});

test("a broken file of an earlier try is found, removed, and does no harm the next time", async () => {
  const bytes = someBytes(2_000);
  const { server } = await openShelf(bytes);
  await using _server = server;
  const path = join(folder.path, "stale.bin");
  await writeFile(`${path}.${artifactId}.part`, "something else");
  expect((await server.run("artifacts", "download", artifactId, "-o", path)).code).toBe(exitCodes.failed);
  await writeFile(`${path}.${artifactId}.part`, Buffer.alloc(9_000));
  await server.text("artifacts", "download", artifactId, "-o", path);
  expect((await readFile(path)).equals(bytes)).toBe(true);
});

test("download leaves alone what is there, and does not follow a link that somebody laid", async () => {
  const { server, offsets } = await openShelf(someBytes(2_000));
  await using _server = server;
  const path = join(folder.path, "mine.bin");
  await writeFile(path, "mine");
  const { code, stderr } = await server.run("artifacts", "download", artifactId, "-o", path);
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toContain("is there already");
  expect(offsets).toEqual([]);
  await symlink(path, `${path}.${artifactId}.part`);
  expect((await server.run("artifacts", "download", artifactId, "-o", path, "--force")).code).toBe(exitCodes.failed);
  expect(await readFile(path, "utf8")).toBe("mine");
});

test("what is sealed to a recipient is not downloaded without an identity, and nothing else with one", async () => {
  const encryption = { scheme: "signalbox-sealed-v1", keyId: "", recipient: "age1xyz" };
  const { server, offsets } = await openShelf(someBytes(10), {
    encryption: create(ArtifactEncryptionSchema, encryption),
  });
  await using _server = server;
  const without = await server.run("artifacts", "download", artifactId);
  expect(without.stderr).toMatch(/sealed to age1xyz\nhint: .*--identity/);
  const path = join(folder.path, "identity.txt");
  await writeFile(path, "no key");
  const wrong = await server.run("artifacts", "download", artifactId, "--identity", path);
  expect(wrong).toMatchObject({ code: exitCodes.usage, stderr: expect.stringContaining("no age identity") as string });
  const missing = await server.run("artifacts", "download", artifactId, "--identity", `${path}.none`);
  expect(missing.stderr).toContain("--identity can not be read: ENOENT");
  const plain = await openShelf(someBytes(10));
  await using _plain = plain.server;
  expect((await plain.server.run("artifacts", "download", artifactId, "--identity", path)).stderr).toContain(
    "not sealed to a recipient",
  );
  expect([...offsets, ...plain.offsets]).toEqual([]);
});

test("upload says what it was told, and the same command is the same request", async () => {
  const path = join(folder.path, "a.csv");
  await writeFile(path, "a,b\n");
  const requests: { requestId: string; spec: unknown }[] = [];
  await using server = await openArtifacts({
    createArtifact({ requestId, spec, data }) {
      requests.push({ requestId, spec });
      return { artifact: artifactOf(data) };
    },
  });
  const upload = ["artifacts", "upload", path, "--run", runId, "--content-type", "text/csv", "--workspace-visible"];
  await server.text(...upload, "--retention", "2h", "--label", "team=a");
  await server.text(...upload, "--retention", "2h", "--label", "team=a");
  await server.text(...upload, "--name", "other.csv");
  await server.text(...upload, "--as", "user:bob");
  await server.text(...upload, "--request-id", "mine");
  expect(requests[0]?.spec).toMatchObject({
    name: "a.csv",
    contentType: "text/csv",
    runId,
    visibility: ArtifactVisibility.WORKSPACE,
    retention: { seconds: 7_200n },
    labels: { team: "a" },
    sizeBytes: 4n,
    sha256: hashOf(Buffer.from("a,b\n")),
  });
  const [first, second, ...others] = requests.map(({ requestId }) => requestId);
  expect(second).toBe(first);
  expect(new Set([first, ...others]).size).toBe(4);
  expect(others.at(-1)).toBe("mine");
});

test("upload takes stdin as it comes", async () => {
  let name: string | undefined;
  await using server = await openArtifacts({
    async uploadArtifact(requests) {
      const pieces: Uint8Array[] = [];
      for await (const { frame } of requests) {
        if (frame.case === "header") name = frame.value.spec?.name;
        else if (frame.case === "data") pieces.push(frame.value);
      }
      return { artifact: artifactOf(Buffer.concat(pieces)) };
    },
  });
  const env = { SIGNALBOX_URL: server.url, SIGNALBOX_WORKSPACE: "ws_test" };
  const { stdout } = await spawnSignalbox(["artifacts", "upload", "-", "--name", "x.txt", "--json"], env, "hello");
  expect(JSON.parse(stdout)).toMatchObject({ sha256: hashOf(Buffer.from("hello")) });
  expect(name).toBe("x.txt");
});

test("upload says so when the same file was uploaded before and is gone", async () => {
  const path = join(folder.path, "gone.txt");
  await writeFile(path, "x");
  await using server = await openArtifacts({
    createArtifact: ({ data }) => ({ artifact: artifactOf(data, { status: ArtifactStatus.DELETED }) }),
  });
  const { code, stderr } = await server.run("artifacts", "upload", path);
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/not available any more; nothing was stored\nhint: Give another --request-id/);
});

test("upload of what is no file says so", async () => {
  await using server = await openArtifacts({});
  const { code, stderr } = await server.run("artifacts", "upload", join(folder.path, "none"));
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toMatch(/can not be read: ENOENT/);
  expect((await server.run("artifacts", "upload", folder.path)).stderr).toContain("can not be read: EISDIR");
});

test("list, show and usage tell people and programs", async () => {
  const requests: unknown[] = [];
  const shown = artifactOf(Buffer.alloc(3_400_000), { name: "plan.pdf" });
  await using server = await openArtifacts({
    listArtifacts(request) {
      requests.push(request);
      return { artifacts: [shown] };
    },
    getArtifact: () => ({ artifact: shown }),
    getStorageUsage: () => ({
      usage: { artifactCount: 3n, sizeBytes: 4_500_000n, heldCount: 1n },
      limits: { maxArtifactBytes: 100_000_000n, maxRunArtifacts: 50, maxRunBytes: 1_000_000_000n },
    }),
  });
  const list = await server.text("artifacts", "list", "--run", runId, "--status", "available,expired");
  expect(list).toMatch(/ARTIFACT .*\nart_\w+ +plan\.pdf +3\.4 MB +AVAILABLE +2026-11-21 08:00:00Z/);
  expect(requests[0]).toMatchObject({ runId, statuses: [ArtifactStatus.AVAILABLE, ArtifactStatus.EXPIRED] });
  expect(await server.list("artifacts", "ls")).toMatchObject([{ artifactId, name: "plan.pdf" }]);
  expect(await server.text("artifacts", "show", artifactId)).toMatch(
    /name +plan\.pdf\n(.*\n)*readable +by alice and who was granted access/,
  );
  expect(await server.text("artifacts", "usage")).toMatch(/stored +4\.5 MB of 0 bytes, in 3 artifacts\nheld +1 on/);
});

test("show says until when an artifact can be restored, and not of one whose bytes are gone", async () => {
  const purgeTime = timestampFromMs(Date.parse("2026-11-22T08:00:00Z"));
  for (const [status, said] of [
    [ArtifactStatus.EXPIRED, true],
    [ArtifactStatus.PURGED, false],
  ] as const) {
    const artifact = artifactOf(someBytes(1), { status, purgeTime });
    await using server = await openArtifacts({ getArtifact: () => ({ artifact }) });
    const shown = await server.text("artifacts", "show", artifactId);
    expect(shown.includes("can be restored until 2026-11-22 08:00:00Z")).toBe(said);
  }
});

test("delete asks before it destroys, hold and release need a reason", async () => {
  const requests: unknown[] = [];
  await using server = await openArtifacts({
    deleteArtifact(request) {
      requests.push(request);
      return {
        artifact: artifactOf(Buffer.from("x"), { status: ArtifactStatus.DELETED, endTime: time, purgeTime: time }),
      };
    },
    setLegalHold(request) {
      requests.push(request);
      return { artifact: artifactOf(Buffer.from("x")) };
    },
    restoreArtifact(request) {
      requests.push(request);
      return { artifact: artifactOf(Buffer.from("x")) };
    },
  });
  const text = await server.text("artifacts", "delete", artifactId, "--reason", "wrong");
  expect(text).toMatch(/status +DELETED since .*, can be restored until 2026/);
  const refused = await server.run("artifacts", "delete", artifactId, "--permanent", "--json");
  expect(refused).toMatchObject({
    code: exitCodes.usage,
    stderr: expect.stringContaining("nobody can be asked") as string,
  });
  await server.text("artifacts", "delete", artifactId, "--permanent", "--yes");
  await server.text("artifacts", "hold", artifactId, "--reason", "case 12");
  await server.text("artifacts", "release", artifactId, "--reason", "closed");
  await server.text("artifacts", "restore", artifactId, "--retention", "2d");
  expect((await server.run("artifacts", "hold", artifactId)).code).toBe(exitCodes.usage);
  expect(requests).toMatchObject([
    { artifactId, reason: "wrong", permanent: false },
    { permanent: true },
    { held: true, reason: "case 12" },
    { held: false, reason: "closed" },
    { retention: { seconds: 172_800n } },
  ]);
});

test("grants, links and the access log", async () => {
  const grantees: unknown[] = [];
  await using server = await openArtifacts({
    grantAccess({ grantee, expireTime }) {
      grantees.push(grantee?.who);
      return {
        grant: { grantId, grantee: grantee!, ...(expireTime && { expireTime }), createTime: time, createBy: alice },
      };
    },
    revokeAccess: () => ({ grant: { grantId, revokeTime: time } }),
    listGrants: () => ({
      grants: [{ grantId, grantee: { who: { case: "principal", value: "role:auditor" } }, createBy: alice }],
      links: [{ linkId, artifactId, expireTime: time, createBy: alice }],
    }),
    createDownloadUrl: ({ expiresIn }) => ({
      url: `http://files.example/artifacts/abc?${expiresIn?.seconds}`,
      link: { linkId, artifactId, expireTime: time },
    }),
    revokeDownloadUrl: () => ({ link: { linkId, revokeTime: time } }),
    listAccess: () => ({
      accesses: [
        {
          artifactId,
          method: AccessMethod.URL,
          outcome: AccessOutcome.RATE_LIMITED,
          principal: alice,
          remoteAddress: "10.0.0.9",
          detail: "too often",
          repeatedCount: 4n,
          createTime: time,
        },
      ],
    }),
  });
  const key = "ed25519:" + "AB".repeat(32);
  const wallet = `0x${"52".repeat(20)}`;
  for (const name of ["user:bob", key, wallet]) await server.text("artifacts", "grant", artifactId, name);
  expect(grantees).toEqual([
    { case: "principal", value: "user:bob" },
    { case: "ed25519PublicKey", value: "ab".repeat(32) },
    { case: "ethereumAddress", value: wallet },
  ]);
  expect((await server.run("artifacts", "grant", artifactId, "bob")).stderr).toContain("Give user:alice, role:auditor");
  expect(await server.text("artifacts", "revoke", artifactId, grantId)).toContain("revoked 2026-11-21");
  const grants = await server.text("artifacts", "grants", artifactId);
  expect(grants).toMatch(/role:auditor +good\b.*\nlink_\w+ +whoever has the link +good until 2026/);
  const linked = await server.run("artifacts", "link", artifactId, "--expires-in", "2h");
  expect(linked.stdout).toBe("http://files.example/artifacts/abc?7200\n");
  expect(linked.stderr).toContain(linkId);
  expect(await server.text("artifacts", "unlink", artifactId, linkId)).toContain("revoked");
  const log = await server.text("artifacts", "access", artifactId, "--outcome", "rate_limited");
  expect(log).toMatch(/URL +RATE_LIMITED +alice from 10\.0\.0\.9 +too often, and 4 more/);
});

test("prove signs the challenge with a key in PEM or hex, and says the URL", async () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const seed = Buffer.from(privateKey.export({ format: "jwk" }).d ?? "", "base64url").toString("hex");
  const [pem, hex] = [join(folder.path, "key.pem"), join(folder.path, "key.hex")];
  await writeFile(pem, privateKey.export({ format: "pem", type: "pkcs8" }));
  await writeFile(hex, `${seed}\n`);
  const challenge = "Read what you sign: ä\n";
  const publicKeys: unknown[] = [];
  await using server = await openArtifacts({
    createAccessChallenge({ grantee }) {
      publicKeys.push(grantee?.who.value);
      return { challenge };
    },
    answerAccessChallenge(request) {
      expect(request.challenge).toBe(challenge);
      const bytes = Buffer.from(request.signature.replace(/^0x/, ""), "hex");
      const key = createPublicKey(createPrivateKey(privateKey.export({ format: "pem", type: "pkcs8" })));
      expect(bytes.length === 65 || verify(null, Buffer.from(challenge), key, bytes)).toBe(true);
      return { url: "http://files.example/signed" };
    },
  });
  for (const path of [pem, hex]) {
    const text = await server.text("artifacts", "prove", artifactId, "--ed25519-key", path);
    expect(text).toBe("http://files.example/signed\n");
  }
  expect(new Set(publicKeys).size).toBe(1);
  const printed = await server.text("artifacts", "prove", artifactId, "--grantee", `0x${"1".repeat(40)}`);
  expect(printed).toBe(challenge);
  const file = join(folder.path, "challenge.txt");
  await writeFile(file, printed);
  const signature = `0x${"ab".repeat(65)}`;
  const answered = await server.json("artifacts", "prove", "--challenge", file, "--signature", signature);
  expect(answered).toEqual({ url: "http://files.example/signed" });
});

test.each([
  { args: [artifactId], says: "give an artifact with --ed25519-key or --grantee" },
  { args: ["--challenge", "x"], says: "give an artifact with --ed25519-key or --grantee" },
  { args: [artifactId, "--ed25519-key", "package.json"], says: "package.json holds no Ed25519 private key" },
  { args: [artifactId, "--ed25519-key", "/no/such"], says: "--ed25519-key can not be read: ENOENT" },
])("prove $args is called wrongly", async ({ args, says }) => {
  await using server = await openArtifacts({});
  const { code, stderr } = await server.run("artifacts", "prove", ...args);
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toContain(says);
});

test.each([
  ["ARTIFACT_NOT_FOUND", "signalbox artifacts list"],
  ["ARTIFACT_EXPIRED", "signalbox artifacts restore"],
  ["GRANT_NOT_FOUND", "signalbox artifacts grants"],
  ["RATE_LIMITED", "SIGNALBOX_ACCESSES_PER_MINUTE"],
] as const)("%s comes with a way out", async (reason, hint) => {
  await using server = await openArtifacts({
    getArtifact: () => {
      throw new SignalboxError(reason, "no");
    },
  });
  const { code, stderr } = await server.run("artifacts", "show", artifactId);
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toContain(`(${reason})`);
  expect(stderr).toContain(hint);
});

test("a run says what it has produced", () => {
  const run = create(RunSchema, { runId, artifactSummary: { count: 2, totalSizeBytes: 3_400_000n } });
  expect(runView(run)).toContain(`files     2 files, 3.4 MB: signalbox artifacts list --run ${runId}`);
  expect(runView(create(RunSchema, { runId }))).not.toContain("files");
});
