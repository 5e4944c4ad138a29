import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { signalbox } from "../cli/signalbox.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";
import {
  begun,
  bundled,
  downloaded,
  followed,
  inChunks,
  linkTo,
  sha256,
  someBytes,
  stored,
  streamed,
} from "./files.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun } from "./runs.ts";
import { headPosition } from "./subscribed.ts";
import { openFileInstallation } from "./stored-files.ts";

const installation = await openFileInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());
const { folder } = installation;
const mebibyte = 1024 * 1024;

/** A client of each server, for a workspace of their own. */
function twoClients(workspaceId = newWorkspaceId()): [SignalboxClient, SignalboxClient] {
  const [a, b] = installation.servers.map(({ url: baseUrl }) => installation.client({ workspaceId, baseUrl }));
  if (a === undefined || b === undefined) throw new Error("there are two servers");
  return [a, b];
}

async function command(workspaceId: string, ...args: string[]): Promise<string> {
  const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
  const { code, stdout, stderr } = await signalbox(args, env);
  if (code !== 0) throw new Error(`signalbox ${args.join(" ")} ended with ${code}: ${stderr}`);
  return stdout;
}

/** Stores the bytes by every way in; returns the ids of the artifacts. */
async function byEveryWayIn(workspaceId: string, bytes: Buffer, runId: string): Promise<string[]> {
  const [a, b] = twoClients(workspaceId);
  const path = join(folder, `${workspaceId}.bin`);
  await writeFile(path, bytes);
  const uploaded = await command(workspaceId, "artifacts", "upload", path, "--run", runId, "--json");
  const ways = [
    streamed(a, bytes, { runId }, 300_000),
    inChunks([a, b], bytes, { runId }),
    ...(bytes.length > mebibyte ? [] : [stored(b, bytes, { runId })]),
  ];
  const artifacts = await Promise.all(ways);
  expect(artifacts.map((artifact) => artifact.sha256)).toEqual(artifacts.map(() => sha256(bytes)));
  return [
    ...artifacts.map(({ artifactId }) => artifactId),
    (JSON.parse(uploaded) as { artifactId: string }).artifactId,
  ];
}

/** What comes out by every way but the bundle, by name. */
async function byEveryWayOut(client: SignalboxClient, workspaceId: string, artifactId: string, size: number) {
  const middle = Math.floor(size / 2);
  const { url } = await linkTo(client, artifactId);
  const get = async (range?: string) => {
    const response = await fetch(await followed(url), { headers: range === undefined ? {} : { range } });
    expect(response.status).toBe(range === undefined ? 200 : 206);
    return Buffer.from(await response.bytes());
  };
  const path = join(folder, `${artifactId}.out`);
  await command(workspaceId, "artifacts", "download", artifactId, "-o", path);
  const head = middle === 0 ? Buffer.alloc(0) : await get(`bytes=0-${middle - 1}`);
  return {
    download: await downloaded(client, artifactId),
    fromOffset: await downloaded(client, artifactId, BigInt(middle)),
    link: await get(),
    ranges: Buffer.concat([head, await get(`bytes=${middle}-`)]),
    lastByte: await get("bytes=-1"),
    cli: await readFile(path),
  };
}

async function expectSame(workspaceId: string, bytes: Buffer, artifactIds: readonly string[]): Promise<void> {
  const [, client] = twoClients(workspaceId);
  for (const artifactId of artifactIds) {
    const { fromOffset, lastByte, ...whole } = await byEveryWayOut(client, workspaceId, artifactId, bytes.length);
    const same = Object.entries(whole).map(([way, found]) => [way, found.equals(bytes)]);
    expect(same).toEqual(same.map(([way]) => [way, true]));
    expect(fromOffset.equals(bytes.subarray(Math.floor(bytes.length / 2)))).toBe(true);
    expect(lastByte).toEqual(bytes.subarray(-1));
  }
}

describe("the same bytes come out by every way, however they came in:", () => {
  test.each([1, mebibyte])("%i bytes", async (size) => {
    const workspaceId = newWorkspaceId();
    const [client] = twoClients(workspaceId);
    const bytes = someBytes(size);
    const runId = await createRun(client, { handler: "nobody" });
    const artifactIds = await byEveryWayIn(workspaceId, bytes, runId);
    expect(new Set(artifactIds).size).toBe(4);
    await expectSame(workspaceId, bytes, artifactIds);
    // What was stored by four ways is four files of the run, and all of them are in its bundle.
    await client.runs.cancelRun({ runId });
    const path = join(folder, `${runId}.zip`);
    await command(workspaceId, "bundle", runId, "-o", path);
    expect(await command(workspaceId, "verify", path)).toContain("4 of 4 artifacts");
    const zip = await readFile(path);
    expect(zip.equals(await bundled(client, runId))).toBe(true);
    let found = 0;
    for (let at = zip.indexOf(bytes); size > 1 && at >= 0; at = zip.indexOf(bytes, at + size)) found++;
    expect(found).toBe(size > 1 ? 4 : 0);
  });

  test("20 MiB, up and down once", async () => {
    const workspaceId = newWorkspaceId();
    const [a, b] = twoClients(workspaceId);
    const bytes = someBytes(20 * mebibyte);
    const { artifactId, sizeBytes, sha256: sum } = await streamed(a, bytes, {}, 2 * mebibyte);
    expect({ sizeBytes, sum }).toEqual({ sizeBytes: BigInt(bytes.length), sum: sha256(bytes) });
    expect((await downloaded(b, artifactId)).equals(bytes)).toBe(true);
    const { url } = await linkTo(b, artifactId);
    const last = await fetch(await followed(url), { headers: { range: `bytes=${19 * mebibyte}-` } });
    expect(Buffer.from(await last.bytes()).equals(bytes.subarray(19 * mebibyte))).toBe(true);
  });
});

test("an upload in chunks and its artifact outlive restarts of every server", async () => {
  const [a, b] = twoClients();
  const bytes = someBytes(3 * mebibyte + 7);
  const { uploadId, indexes, send } = await begun(a, bytes);
  await send(2);
  await send(0);
  const restart = async () => {
    await Promise.all(installation.servers.map((server) => server.stop()));
    await Promise.all(installation.servers.map((server) => server.start()));
  };
  await restart();
  expect((await b.artifacts.getUpload({ uploadId })).upload).toMatchObject({ receivedChunks: [0, 2] });
  await send(3, b);
  await send(1, b);
  // Whoever does not know what had come before sends all of it again.
  for (const index of indexes) await send(index, a);
  const finished = await Promise.all([a, b].map((client) => client.artifacts.finishUpload({ uploadId })));
  expect(finished[0]?.artifact).toEqual(finished[1]?.artifact);
  const { url } = await linkTo(a, uploadId);
  await restart();
  expect((await downloaded(b, uploadId)).equals(bytes)).toBe(true);
  expect(Buffer.from(await (await fetch(await followed(url))).bytes()).equals(bytes)).toBe(true);
  expect(await reasonFor(b.artifacts.getUpload({ uploadId }))).toBe("UPLOAD_NOT_FOUND");
  const { artifact } = await b.artifacts.finishUpload({ uploadId });
  expect(artifact).toMatchObject({ artifactId: uploadId, sha256: sha256(bytes) });
});

test("a client that vanishes in the middle of a stream leaves no artifact and no event", async () => {
  const [client] = twoClients();
  const gone = new AbortController();
  const before = await headPosition(client);
  async function* frames() {
    yield { frame: { case: "header", value: { requestId: "report", spec: { name: "a.bin" } } } } as const;
    yield { frame: { case: "data", value: someBytes(mebibyte) } } as const;
    gone.abort();
    yield { frame: { case: "data", value: someBytes(mebibyte) } } as const;
  }
  const upload = client.artifacts.uploadArtifact(frames(), { signal: gone.signal });
  await expect(upload).rejects.toThrow("abort");
  expect((await client.artifacts.listArtifacts({ minPosition: before })).artifacts).toEqual([]);
  const { artifact } = await client.artifacts.createArtifact({ requestId: "report", spec: { name: "b.bin" } });
  expect(artifact).toMatchObject({ name: "b.bin", sizeBytes: 0n });
});

test.each([
  { protocol: "connect", httpVersion: "1.1" },
  { protocol: "connect", httpVersion: "2" },
  { protocol: "grpc", httpVersion: "2" },
] as const)("a reader who goes away in the middle closes the file, over $protocol, HTTP/$httpVersion", async (wire) => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId, ...wire });
  const { artifactId } = await streamed(client, someBytes(12 * mebibyte));
  const gone = new AbortController();
  const frames = client.artifacts.downloadArtifact({ artifactId }, { signal: gone.signal })[Symbol.asyncIterator]();
  for (const kind of ["header", "data"])
    expect(await frames.next()).toMatchObject({ value: { frame: { case: kind } } });
  expect(await installation.openBlobs(workspaceId, artifactId)).toBe(1);
  gone.abort();
  expect((await refusal(frames.next())).code).toBe(Code.Canceled);
  await until(async () => (await installation.openBlobs(workspaceId, artifactId)) === 0, {
    what: "the file to be closed",
  });
});

test("a reader who takes nothing for a while holds nobody up, and gets every byte in the end", async () => {
  const [client] = twoClients();
  const bytes = someBytes(20 * mebibyte);
  const { artifactId } = await streamed(client, bytes);
  const signed = new URL(await followed((await linkTo(client, artifactId)).url));
  const socket = connect(Number(signed.port), signed.hostname);
  socket.write(`GET ${signed.pathname}${signed.search} HTTP/1.1\r\nhost: ${signed.host}\r\nconnection: close\r\n\r\n`);
  await once(socket, "readable");
  expect((await downloaded(client, artifactId)).equals(bytes)).toBe(true);
  await client.runs.createRun({ handler: "nobody", input: jsonValue("meanwhile") });
  expect(socket.bytesRead).toBeLessThan(bytes.length);
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece as Buffer);
  const answer = Buffer.concat(pieces);
  expect(answer.subarray(answer.indexOf("\r\n\r\n") + 4).equals(bytes)).toBe(true);
});
