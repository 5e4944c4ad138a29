import { execFile } from "node:child_process";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DownloadBundleRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { callOf } from "../../src/kernel/call.ts";
import { createEndedRun, type MemoryBundles, openFolder, runId } from "../bundles/memory-bundles.ts";
import { type FakeServer, openFakeServer } from "./fake-server.ts";
import { signalbox, spawnSignalbox } from "./signalbox.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

let bundles: MemoryBundles;
let server: FakeServer;
let folder: Awaited<ReturnType<typeof openFolder>>;
const requests: DownloadBundleRequest[] = [];
beforeAll(async () => {
  folder = await openFolder();
  bundles = await createEndedRun();
  server = await openFakeServer({
    artifacts: {
      async *downloadBundle(request, context) {
        requests.push(request);
        yield* bundles.download(callOf(context), request);
      },
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

test("bundle writes what the server sends, for its owner alone, and says the head hash", async () => {
  const path = join(folder.path, "a.zip");
  const text = await server.text("bundle", runId, "-o", path);
  expect(text).toMatch(
    /^wrote .*a\.zip: 7 events of run run_\w+ up to position 7, 3 of 3 artifacts, [\d.]+ kB\nhead hash [0-9a-f]{64} /,
  );
  expect((await readFile(path)).equals(await bundles.bytes())).toBe(true);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("bundle asks for what was chosen, and tells programs what it has", async () => {
  const path = join(folder.path, "b.zip");
  const ids = ["art_00000000000000000000000001", "art_00000000000000000000000003"];
  const some = await server.json("bundle", runId, "-o", path, "--artifact", ids[0] ?? "", "--artifact", ids[1] ?? "");
  expect(requests.at(-1)).toMatchObject({ runId, artifactIds: ids, withoutArtifacts: false });
  expect(some).toMatchObject({
    path,
    runId,
    eventCount: 7,
    artifacts: [{ included: true }, { omitted: "not_selected" }, {}],
  });
  expect(await server.json("bundle", runId, "-o", path, "--force", "--without-artifacts")).toMatchObject({
    artifacts: [{ included: false }, { included: false }, { included: false }],
  });
});

test("bundle leaves a file that is there alone, unless it is told otherwise", async () => {
  const path = join(folder.path, "c.zip");
  await writeFile(path, "mine");
  const { code, stderr } = await server.run("bundle", runId, "-o", path);
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toContain("is there already");
  expect(await readFile(path, "utf8")).toBe("mine");
  await server.text("bundle", runId, "-o", path, "--force");
  expect((await readFile(path)).equals(await bundles.bytes())).toBe(true);
});

test("a download that breaks off leaves nothing behind", async () => {
  await using other = await openFolder();
  await using broken = await openFakeServer({
    artifacts: {
      async *downloadBundle() {
        yield* [{ data: Buffer.from("PK") }];
        await Promise.reject(new Error("power cut"));
      },
    },
  });
  expect((await broken.run("bundle", runId, "-o", join(other.path, "x.zip"))).code).toBe(exitCodes.failed);
  expect(await readdir(other.path)).toEqual([]);
});

test("bundle names the place when it can not write there", async () => {
  const { code, stderr } = await server.run("bundle", runId, "-o", join(folder.path, "none", "x.zip"));
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/error: .*x\.zip can not be written: ENOENT/);
});

test("bundle -o - writes the bytes and nothing else to stdout", async () => {
  const env = { SIGNALBOX_URL: server.url, SIGNALBOX_WORKSPACE: "ws_test" };
  const { stdout } = await promisify(execFile)(process.execPath, [main, "bundle", runId, "-o", "-"], {
    env: { PATH: process.env.PATH, ...env },
    encoding: "buffer",
  });
  expect(stdout.equals(await bundles.bytes())).toBe(true);
});

test("verify works in an empty folder, without a service, stores or settings", async () => {
  await using empty = await openFolder();
  await writeFile(join(empty.path, "run.zip"), await bundles.bytes());
  const { stdout } = await promisify(execFile)(process.execPath, [main, "verify", "run.zip"], {
    cwd: empty.path,
    env: { PATH: process.env.PATH },
  });
  expect(stdout).toMatch(/^verified run\.zip: 7 events of run/);
  expect(stdout).toMatch(/report\.txt +12 bytes +available +yes/);
  expect(stdout).toMatch(/Not proved:\n {2}- that the log has this history/);
  expect(await readdir(empty.path)).toEqual(["run.zip"]);
});

test("verify says what is not there, and does not mind", async () => {
  const shredded = await createEndedRun();
  const path = join(folder.path, "shredded.zip");
  const artifact = await shredded.add({ name: "secret.txt", content: "secret" });
  artifact.status = "purged";
  await writeFile(path, await shredded.bytes());
  const { code, stdout } = await signalbox(["verify", path]);
  expect(code).toBe(exitCodes.ok);
  expect(stdout).toMatch(/secret\.txt +6 bytes +purged +no: its bytes are gone/);
});

test("verify names the first thing that does not fit, and exits with 1", async () => {
  const bytes = await bundles.bytes();
  const path = join(folder.path, "changed.zip");
  await writeFile(path, bytes.fill("b", bytes.indexOf("all is well"), bytes.indexOf("all is well") + 1));
  const people = await signalbox(["verify", path]);
  expect(people.code).toBe(exitCodes.failed);
  expect(people.stdout).toMatch(
    /does not fit together\n\nfirst at artifacts\/art_0+1\/report\.txt: the file has 12 bytes/,
  );
  const programs = await signalbox(["verify", path, "--json"]);
  expect(JSON.parse(programs.stdout)).toMatchObject({ ok: false, problem: { kind: "artifact" } });
});

test("verify --head takes the hash in hex and in base64, and refuses another history", async () => {
  const path = join(folder.path, "head.zip");
  await writeFile(path, await bundles.bytes());
  const { headHash } = JSON.parse((await signalbox(["verify", path, "--json"])).stdout) as { headHash: string };
  for (const head of [headHash.toUpperCase(), Buffer.from(headHash, "hex").toString("base64")]) {
    const { code, stdout } = await signalbox(["verify", path, "--head", head]);
    expect(code).toBe(exitCodes.ok);
    expect(stdout).toContain("the last event is the one whose hash you gave");
    expect(stdout).not.toContain("who makes the whole bundle anew");
  }
  const { code, stdout } = await signalbox(["verify", path, "--head", "0".repeat(64), "--json"]);
  expect(code).toBe(exitCodes.failed);
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, problem: { kind: "head" } });
});

test("verify of a folder, or of what is no zip, says so", async () => {
  const { code, stderr } = await spawnSignalbox(["verify", folder.path], {});
  expect(code).toBe(exitCodes.usage);
  expect(stderr).toMatch(/can not be read/);
  const { stdout } = await signalbox(["verify", main]);
  expect(stdout).toContain("this is no zip");
});
