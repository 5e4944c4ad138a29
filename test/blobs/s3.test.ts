import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openS3Blobs } from "../../src/blobs/s3.ts";
import { describeBlobStore, inPieces, namesIn, newName, readAll, someBytes } from "./contract.ts";
import { openS3Server, type S3Server } from "./s3-server.ts";

const log = pino({ level: "silent" });
const mebibyte = 1024 * 1024;

describeBlobStore("s3", async () => {
  await using opening = new AsyncDisposableStack();
  const server = opening.use(await openS3Server());
  const store = opening.use(await openS3Blobs({ ...server.bucket, log }));
  const owned = opening.move();
  return {
    store,
    down: () => server.stop(),
    heldOpen: async () => server.underWay(),
    movedBytes: () => server.sentBytes(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
});

let server: S3Server;
beforeAll(async () => {
  server = await openS3Server();
});
afterAll(() => server?.[Symbol.asyncDispose]());

describe("the bucket", () => {
  test.each([
    { given: { bucket: "nowhere" }, message: "has no such bucket; create it, or correct SIGNALBOX_S3_BUCKET" },
    { given: { accessKeyId: "nobody" }, message: "refused the credentials (403" },
    { given: { endpoint: "http://127.0.0.1:1" }, message: "is SIGNALBOX_S3_ENDPOINT right?" },
  ])("is looked at when the store opens: $message", async ({ given, message }) => {
    await expect(openS3Blobs({ ...server.bucket, ...given, log })).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
      message: expect.stringContaining(message) as string,
    });
  });
});

describe("a multipart upload", () => {
  test("is ended when its source fails, and nothing is under the name", async () => {
    const store = await openS3Blobs({ ...server.bucket, log });
    const name = newName();
    async function* failing() {
      yield* inPieces(someBytes(11 * mebibyte));
      throw new Error("the caller went away");
    }
    await expect(store.put(name, failing())).rejects.toThrow("the caller went away");
    const requests = server.requests.filter((request) => request.includes(name));
    expect(requests.filter((request) => request.startsWith("PUT"))).toHaveLength(2);
    expect(requests).toContainEqual(expect.stringMatching(/^DELETE .+\?uploadId=/));
    expect(requests).not.toContainEqual(expect.stringMatching(/^POST .+\?uploadId=/));
  });

  test("is not needed for what is small", async () => {
    const store = await openS3Blobs({ ...server.bucket, log });
    const name = newName();
    await store.put(name, inPieces(someBytes(mebibyte)));
    expect(server.requests.filter((request) => request.includes(name))).toEqual([`PUT /artifacts/${name}`]);
  });
});

describe("a service", () => {
  /** One that answers as it is told, request by request. */
  async function openScripted(answers: { status: number; body?: string }[]) {
    const asked: string[] = [];
    const scripted = createServer((request, response) => {
      request.resume().on("end", () => {
        asked.push(`${request.method} ${request.url?.replace(/\?.*/, "")}`);
        const { status, body = "" } = answers[asked.length - 1] ?? { status: 500 };
        response.writeHead(status, { "content-type": "application/xml", etag: '"e"' }).end(body);
      });
    });
    await new Promise<void>((resolve) => scripted.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(scripted.address() as AddressInfo).port}`;
    return {
      bucket: { ...server.bucket, endpoint },
      asked,
      [Symbol.asyncDispose]: async () => {
        scripted.closeAllConnections();
        scripted.close();
      },
    };
  }
  const empty = { status: 200, body: "<ListBucketResult></ListBucketResult>" };
  const busy = { status: 503, body: "<Error><Code>SlowDown</Code></Error>" };
  const ok = { status: 200 };

  test("that lists page by page is asked for each", async () => {
    const page = (key: string, more: string) =>
      `<ListBucketResult><Contents><Key>${key}</Key><Size>7</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>${more}</ListBucketResult>`;
    const next = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
    await using service = await openScripted([
      empty,
      { status: 200, body: page("ws_a/art_b/c", next) },
      { status: 200, body: page("not.ours", next) },
      { status: 200, body: page("ws_d/art_e/f", "<IsTruncated>false</IsTruncated>") },
    ]);
    const store = await openS3Blobs({ ...service.bucket, log });
    expect(await namesIn(store)).toEqual(["ws_a/art_b/c", "ws_d/art_e/f"]);
    expect(service.asked).toHaveLength(4);
  });

  test("that is busy for a moment is asked again", async () => {
    await using service = await openScripted([empty, busy, ok]);
    const store = await openS3Blobs({ ...service.bucket, log });
    await store.put("a", inPieces(someBytes(10)));
    expect(service.asked.slice(1)).toEqual(["PUT /artifacts/a", "PUT /artifacts/a"]);
  });

  test("that stays busy makes the store unavailable", async () => {
    await using service = await openScripted([empty, busy, busy, busy]);
    const store = await openS3Blobs({ ...service.bucket, log });
    await expect(readAll(store, "a", { from: 0, to: 1 })).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
      message: "the artifact store (S3) refused it (503 SlowDown), repeat with backoff; the server's log says why",
    });
  });

  test("that says 200 and then that it failed has not stored the blob", async () => {
    const id = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    const failed = "<Error><Code>InternalError</Code></Error>";
    await using service = await openScripted([
      empty,
      { status: 200, body: id },
      ok,
      { status: 200, body: failed },
      ok,
      ok,
    ]);
    const store = await openS3Blobs({ ...service.bucket, log });
    await expect(store.put("a", inPieces(someBytes(5 * mebibyte)))).rejects.toMatchObject({
      reason: "STORE_UNAVAILABLE",
    });
    expect(service.asked.slice(-2)).toEqual(["DELETE /artifacts/a", "DELETE /artifacts/a"]);
  });

  test("that ignores ranges is not read", async () => {
    await using service = await openScripted([empty, { status: 200, body: "0123456789" }]);
    const store = await openS3Blobs({ ...service.bucket, log });
    await expect(readAll(store, "a", { from: 2, to: 4 })).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  });
});
