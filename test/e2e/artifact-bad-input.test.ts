import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import { IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { openZipReader } from "../../src/bundles/zip-reader.ts";
import { signalbox } from "../cli/signalbox.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";
import {
  accessesTo,
  begun,
  bundled,
  downloaded,
  followed,
  linkTo,
  sha256,
  someBytes,
  stored,
  streamed,
} from "./files.ts";
import { reasons } from "./recorded.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun } from "./runs.ts";
import { headPosition } from "./subscribed.ts";
import { openFileInstallation } from "./stored-files.ts";

const mebibyte = 1024 * 1024;
const maxArtifactBytes = 4 * mebibyte;
const installation = await openFileInstallation({ servers: 2 }, { maxArtifactBytes });
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const client = installation.client({ workspaceId });
const other = installation.client({ workspaceId, baseUrl: installation.servers[1]?.url });
const { artifacts } = client;

const abc = Buffer.from("abc");
const wrong = sha256(Buffer.from("another file"));

/** What a GET of a URL is answered with. */
async function get(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers, redirect: "manual" });
  const body = await response.text();
  const { reason } = response.ok || body === "" ? { reason: undefined } : (JSON.parse(body) as { reason?: string });
  return { status: response.status, headers: response.headers, body, reason };
}

describe("bytes that are not what was said", () => {
  test("are refused by every way in, and leave no artifact and no event", async () => {
    const upload = await begun(client, abc, { sha256: wrong });
    await upload.send(0);
    const short = await begun(client, abc);
    await short.send(0);
    const calls = {
      "small, wrong checksum": () => stored(client, abc, { sha256: wrong }),
      "small, too short": () => stored(client, abc, { sizeBytes: 4n }),
      "small, too long": () => stored(client, abc, { sizeBytes: 2n }),
      "stream, wrong checksum": () => streamed(client, someBytes(3_000_000), { sha256: wrong }),
      "stream, broken off": () => streamed(client, someBytes(3_000_000), { sizeBytes: 3_000_001n }),
      "stream, too long": () => streamed(client, someBytes(3_000_000), { sizeBytes: 2_999_999n }),
      "chunks, wrong checksum in the spec": () => artifacts.finishUpload({ uploadId: upload.uploadId }),
      "chunks, wrong checksum at the end": () => artifacts.finishUpload({ uploadId: short.uploadId, sha256: wrong }),
      "one chunk": () => artifacts.uploadChunk({ uploadId: short.uploadId, index: 0, data: abc, sha256: wrong }),
    };
    const found = await reasons(client, calls);
    expect(found).toEqual(Object.fromEntries(Object.keys(calls).map((name) => [name, "CHECKSUM_MISMATCH"])));
    expect((await artifacts.listArtifacts({ minPosition: await headPosition(client) })).artifacts).toEqual([]);
    // Who sees the mistake can still put it right.
    expect((await artifacts.finishUpload({ uploadId: short.uploadId, sha256: sha256(abc) })).artifact?.sizeBytes).toBe(
      3n,
    );
  });

  test("are refused where a chunk is none of the upload's, or another one than before", async () => {
    const { uploadId, send } = await begun(client, someBytes(mebibyte + 3));
    await send(0);
    const put = (index: number, data: Uint8Array) => artifacts.uploadChunk({ uploadId, index, data });
    const found = await reasons(client, {
      "behind the last": () => put(2, abc),
      "far behind the last": () => put(2 ** 32 - 1, abc),
      "too short": () => put(0, abc),
      "too long": () => put(1, Buffer.from("abcd")),
      "other bytes than before": () => put(0, someBytes(mebibyte)),
      "not all there": () => artifacts.finishUpload({ uploadId }),
      "of no upload": () => artifacts.uploadChunk({ uploadId: "art_01ARZ3NDEKTSV4RRFFQ69G5FAV", index: 0, data: abc }),
    });
    expect(found).toEqual({
      "behind the last": "INVALID_REQUEST",
      "far behind the last": "INVALID_REQUEST",
      "too short": "INVALID_REQUEST",
      "too long": "INVALID_REQUEST",
      "other bytes than before": "INVALID_STATE",
      "not all there": "INVALID_STATE",
      "of no upload": "UPLOAD_NOT_FOUND",
    });
    expect((await artifacts.getUpload({ uploadId })).upload).toMatchObject({ receivedChunks: [0] });
  });

  test("are refused at the first byte beyond the limit, by every way in", async () => {
    const tooLarge = someBytes(maxArtifactBytes + 1);
    const calls = {
      small: () => artifacts.createArtifact({ spec: { name: "a" }, data: someBytes(mebibyte + 1) }),
      stream: () => streamed(client, tooLarge),
      "stream, announced": () => streamed(client, abc, { sizeBytes: BigInt(tooLarge.length) }),
      chunks: () => begun(client, tooLarge),
      frame: () => streamed(client, tooLarge, {}, 2 * mebibyte + 1),
    };
    expect(await reasons(client, calls)).toEqual({
      small: "PAYLOAD_TOO_LARGE",
      stream: "PAYLOAD_TOO_LARGE",
      "stream, announced": "PAYLOAD_TOO_LARGE",
      chunks: "PAYLOAD_TOO_LARGE",
      frame: "PAYLOAD_TOO_LARGE",
    });
    expect(await refusal(streamed(client, tooLarge))).toMatchObject({
      code: Code.ResourceExhausted,
      metadata: { limit: String(maxArtifactBytes) },
    });
    const { sizeBytes } = await streamed(client, tooLarge.subarray(1));
    expect(sizeBytes).toBe(BigInt(maxArtifactBytes));
  });
});

test("of many who finish at the same time on two servers, all are answered the same artifact", async () => {
  const { uploadId, send } = await begun(client, abc);
  await send(0);
  const finish = (by: typeof client) => by.artifacts.finishUpload({ uploadId });
  const answers = await Promise.all([client, other, client, other].map(finish));
  expect(new Set(answers.map(({ artifact }) => artifact?.position)).size).toBe(1);
  const filter = { stream: { type: "artifact", id: uploadId } };
  const { events } = await client.events.listEvents({ filter, minPosition: await headPosition(client) });
  expect(events.map(({ type }) => type)).toEqual(["artifact.created"]);
  expect(await installation.blobsOf(workspaceId, uploadId)).toHaveLength(1);
});

describe("a name that is", () => {
  test.each([
    ["a path", "../../etc/passwd", "_.._.._etc_passwd"],
    ["a path of Windows", "C:\\temp\\a.txt", "C:_temp_a.txt"],
    ["written from right to left", "invoice\u202Efdp.exe", "invoicefdp.exe"],
    ["of 10 kB", "ä".repeat(5_000), "ä".repeat(127)],
    ["several lines with a header", 'a"\r\nx-evil: 1\r\n\r\n<b>.txt', 'a" x-evil: 1 <b>.txt'],
    ["nothing but controls", "\u0000\u0007\u200e", "file"],
  ])("%s is cleaned, and is the same everywhere", async (_what, name, cleaned) => {
    const runId = await createRun(client, { handler: "nobody" });
    const artifact = await stored(client, abc, { name, runId });
    expect(artifact.name).toBe(cleaned);
    const { artifactId } = artifact;
    expect((await artifacts.getArtifact({ artifactId })).artifact?.name).toBe(cleaned);
    const { headers, status } = await get(await followed((await linkTo(client, artifactId)).url));
    expect(status).toBe(200);
    const [, saved = ""] = /filename\*=UTF-8''(\S+)/.exec(headers.get("content-disposition") ?? "") ?? [];
    expect(decodeURIComponent(saved)).toBe(cleaned);
    expect(headers.get("x-evil")).toBeNull();
    const path = join(installation.folder, `${runId}.zip`);
    await writeFile(path, await bundled(client, runId));
    const { code, stdout } = await signalbox(["verify", path, "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ artifacts: [{ name: cleaned }] });
    // What was downloaded lies in the folder where it was asked for, and nowhere else.
    expect((await readdir(installation.folder)).toSorted()).toContain(`${runId}.zip`);
  });

  test("longer than 10 kB is refused", async () => {
    expect(await reasonFor(stored(client, abc, { name: "x".repeat(10_001) }))).toBe("INVALID_REQUEST");
  });

  test("that of others too, in whatever case, is a file of its own in the bundle", async () => {
    const runId = await createRun(client, { handler: "nobody" });
    const names = ["report.txt", "report.txt", "REPORT.TXT", "CON", "a:b", "a_b", "run.json", "manifest.json"];
    for (const [n, name] of names.entries()) await stored(client, Buffer.from(`file ${n}`), { name, runId });
    const path = join(installation.folder, `${runId}.zip`);
    const zip = await bundled(client, runId);
    await writeFile(path, zip);
    const { stdout } = await signalbox(["verify", path, "--json"]);
    expect((JSON.parse(stdout) as { artifacts: { name: string }[] }).artifacts.map(({ name }) => name)).toEqual(names);
    // Where case does not count they are apart as well.
    await using files = await openZipReader(path);
    const found = [...files.paths].filter((each) => each.startsWith("artifacts/"));
    expect(new Set(found.map((each) => each.toLowerCase())).size).toBe(names.length);
    expect(await bundled(client, runId)).toEqual(zip);
  });
});

test("a page with a script is saved, not shown", async () => {
  const page = Buffer.from("<script>fetch('/signalbox.v1.RunService/ListRuns')</script>");
  for (const contentType of ["text/html", "image/svg+xml", 'text/html; x="\r'.trim(), "text/plain, text/html"]) {
    const { artifactId } = await stored(client, page, { name: "page.html", contentType });
    const { headers, body } = await get(await followed((await linkTo(client, artifactId)).url));
    expect(body).toBe(page.toString());
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-disposition": expect.stringMatching(/^attachment/) as string,
      "content-security-policy": "sandbox; default-src 'none'",
      "x-content-type-options": "nosniff",
    });
  }
  expect(await reasonFor(stored(client, page, { contentType: "text/html\r\nx-evil: 1" }))).toBe("INVALID_REQUEST");
});

describe("a URL", () => {
  test("asks for nothing beyond the end", async () => {
    const { artifactId } = await stored(client, abc);
    const url = await followed((await linkTo(client, artifactId)).url);
    for (const range of ["bytes=3-", "bytes=9-10", "bytes=-0", `bytes=${"9".repeat(30)}-`]) {
      const { status, headers, body } = await get(url, { range });
      expect({ range, status, body }).toEqual({ range, status: 416, body: "" });
      expect(headers.get("content-range")).toBe("bytes */3");
    }
    expect(await get(url, { range: "bytes=2-99" })).toMatchObject({ status: 206, body: "c" });
    expect(await reasonFor(downloaded(client, artifactId, 4n))).toBe("INVALID_REQUEST");
    expect(await downloaded(client, artifactId, 3n)).toEqual(Buffer.alloc(0));
  });

  test("that was changed anywhere is refused, and every try is on record", async () => {
    const [{ artifactId }, elsewhere] = [await stored(client, abc), await stored(client, abc)];
    const url = new URL(await followed((await linkTo(client, artifactId)).url));
    const changes = ["g", "exp", "sig"].map((name) => {
      const changed = new URL(url);
      const value = changed.searchParams.get(name) ?? "";
      changed.searchParams.set(name, `${value.slice(0, -1)}${value.endsWith("0") ? "1" : "0"}`);
      return changed.href;
    });
    const bad = [
      ...changes,
      url.href.replace(artifactId, elsewhere.artifactId),
      `${url.href}&x=1`,
      url.href.split("&")[0],
    ];
    for (const each of bad) expect(await get(each ?? "")).toMatchObject({ status: 403 });
    expect(await get(url.href)).toMatchObject({ status: 200, body: "abc" });
    const outcomes = async (id: string) => (await accessesTo(client, id)).map(({ outcome }) => outcome);
    const { GRANTED, REFUSED } = AccessOutcome;
    expect(await outcomes(artifactId)).toEqual([GRANTED, ...bad.slice(1).map(() => REFUSED), GRANTED]);
    expect(await outcomes(elsewhere.artifactId)).toEqual([REFUSED]);
  });

  test("is used with GET and HEAD only, and a token that nobody made leads nowhere", async () => {
    const { artifactId } = await stored(client, abc);
    const { url } = await linkTo(client, artifactId);
    for (const method of ["POST", "PUT", "DELETE"]) {
      expect((await fetch(url, { method, redirect: "manual" })).status).toBe(405);
    }
    const made = url.replace(/\w{22}$/, "A".repeat(22));
    expect(await get(made)).toMatchObject({ status: 404 });
  });
});

describe("what the store has lost is said to be damaged, by every way, and people are told", () => {
  async function damage(artifactId: string): Promise<string> {
    const kinds = [IncidentKind.HASH_MISMATCH];
    const found = await until(
      async () => {
        const { incidents } = await client.incidents.listIncidents({ kinds, minPosition: await headPosition(client) });
        return incidents.find(({ title }) => title.includes(artifactId));
      },
      { what: "the incident" },
    );
    return found.description;
  }

  test.each<[string, (artifactId: string) => Promise<void>]>([
    ["a flipped bit", (artifactId) => installation.flipBit(workspaceId, artifactId)],
    ["a missing file", (artifactId) => installation.loseBlobs(workspaceId, artifactId)],
    ["a missing key", loseKey],
  ])("%s", async (_what, harm) => {
    const runId = await createRun(client, { handler: "nobody" });
    const sound = await stored(client, Buffer.from("sound"), { runId });
    const { artifactId } = await stored(client, someBytes(100_000), { runId });
    const { url } = await linkTo(client, artifactId);
    const signed = await followed(url);
    await harm(artifactId);
    expect(await refusal(downloaded(client, artifactId))).toMatchObject({
      code: Code.DataLoss,
      reason: "ARTIFACT_CORRUPT",
      metadata: { artifact_id: artifactId },
    });
    expect((await get(signed)).status).toBe(500);
    expect(await reasonFor(bundled(client, runId))).toBe("ARTIFACT_CORRUPT");
    expect(await damage(artifactId)).toContain("produced again");
    // What is on record stays, and so does everything else.
    expect((await artifacts.getArtifact({ artifactId })).artifact).toMatchObject({ sizeBytes: 100_000n });
    expect((await downloaded(client, sound.artifactId)).toString()).toBe("sound");
  });
});

/** Takes the record of an artifact's key out of the stream, without a trace, as no Signalbox would. */
async function loseKey(artifactId: string): Promise<void> {
  const { nats, prefix } = installation.backend;
  const stream = `KEYS_${prefix}`;
  const query = { last_by_subj: `${prefix}.keys.data.${workspaceId}.${artifactId}` };
  const record = await nats.jsm.streams.getMessage(stream, query);
  if (record === null) throw new Error("the artifact has no key");
  await nats.jsm.streams.deleteMessage(stream, record.seq);
}
