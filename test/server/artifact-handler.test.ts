import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ArtifactDeletedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import { CreateDownloadUrlRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { type AccessFixtureOptions, bytes, callBy, openAccessFixture } from "../access/fixture.ts";
import { until } from "../support/until.ts";
import { errorOf, infoOf, openTestServer, type TestServerOptions } from "./fixture.ts";

/** A server with one artifact of 1,000 bytes and a link to it. */
async function openFiles(
  options: TestServerOptions & { readonly box?: AccessFixtureOptions; readonly artifact?: object } = {},
) {
  const { box: boxOptions, artifact = {}, ...rest } = options;
  const box = openAccessFixture(boxOptions);
  const artifactId = await box.artifact(artifact);
  const server = await openTestServer({ downloads: box.downloads, ...rest });
  const made = await box.links.create(callBy("user:alice"), create(CreateDownloadUrlRequestSchema, { artifactId }));
  const path = new URL(made.url).pathname;
  return {
    ...server,
    box,
    artifactId,
    path,
    get: (headers: Record<string, string> = {}, method = "GET") => fetch(`${server.url}${path}`, { headers, method }),
    /** Where the link leads. */
    signed: async () => {
      const response = await fetch(`${server.url}${path}`, { redirect: "manual" });
      return new URL(response.headers.get("location") ?? "", `${server.url}${path}`);
    },
  };
}

async function bodyOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

test("a link leads to the bytes, without a credential", async () => {
  await using files = await openFiles({ auth: { mode: "static_token", token: "s3cret-token" } });
  const redirect = await fetch(`${files.url}${files.path}`, { redirect: "manual" });
  expect(redirect.status).toBe(302);
  expect(redirect.headers.get("location")).toMatch(/^ws_a\/art_\w{26}\?g=link_\w{26}&exp=\d+&sig=[\w-]{43}$/);
  const response = await files.get();
  expect(response.status).toBe(200);
  expect((await bodyOf(response)).equals(bytes)).toBe(true);
  const sha256 = /^"[0-9a-f]{64}"$/;
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "accept-ranges": "bytes",
    "cache-control": "private, no-store",
    "content-disposition": `attachment; filename="report.txt"; filename*=UTF-8''report.txt`,
    "content-length": "1000",
    "content-security-policy": "sandbox; default-src 'none'",
    "content-type": "text/plain",
    etag: expect.stringMatching(sha256) as string,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  });
});

test("ranges, conditions and HEAD are answered as RFC 9110 says", async () => {
  await using files = await openFiles();
  const whole = await files.get({}, "HEAD");
  expect([whole.status, whole.headers.get("content-length"), await whole.text()]).toEqual([200, "1000", ""]);
  const etag = whole.headers.get("etag") ?? "";

  const part = await files.get({ range: "bytes=250-349" });
  expect([part.status, part.headers.get("content-range"), part.headers.get("content-length")]).toEqual([
    206,
    "bytes 250-349/1000",
    "100",
  ]);
  expect((await bodyOf(part)).equals(bytes.subarray(250, 350))).toBe(true);
  expect((await bodyOf(await files.get({ range: "bytes=-5" }))).equals(bytes.subarray(995))).toBe(true);

  const behind = await files.get({ range: "bytes=1000-" });
  expect([behind.status, behind.headers.get("content-range"), await behind.text()]).toEqual([416, "bytes */1000", ""]);
  expect((await files.get({ range: "bytes=0-1,5-6" })).status).toBe(200);
  expect((await files.get({ range: "bytes=0-1", "if-range": '"old"' })).status).toBe(200);
  expect((await files.get({ range: "bytes=0-1", "if-range": etag })).status).toBe(206);
  const unchanged = await files.get({ "if-none-match": etag });
  expect([unchanged.status, unchanged.headers.get("etag"), await unchanged.text()]).toEqual([304, etag, ""]);

  const offsets = (await files.box.lines()).slice(1).map(({ outcome, offset }) => [outcome, Number(offset)]);
  expect(offsets.slice(0, 4)).toEqual([0, 250, 995, 1000].map((offset) => [AccessOutcome.GRANTED, offset]));
});

test("every piece of a file put together is the file", async () => {
  await using files = await openFiles();
  const url = await files.signed();
  const parts = [];
  for (let at = 0; at < 1000; at += 333) {
    const response = await fetch(url, { headers: { range: `bytes=${at}-${at + 332}` } });
    expect(response.status).toBe(206);
    parts.push(await bodyOf(response));
  }
  expect(Buffer.concat(parts).equals(bytes)).toBe(true);
});

test("an empty file is sent as it is", async () => {
  const empty = { sizeBytes: 0n };
  await using files = await openFiles({
    artifact: empty,
    box: { openContents: async () => (async function* () {})() },
  });
  const response = await files.get();
  expect([response.status, response.headers.get("content-length"), await response.text()]).toEqual([200, "0", ""]);
  expect((await files.get({ range: "bytes=0-" })).status).toBe(416);
});

test("what a browser could run goes out as bytes under a harmless name", async () => {
  await using files = await openFiles({ artifact: { contentType: "text/html", name: '<script>"x".html' } });
  const response = await files.get();
  expect(response.headers.get("content-type")).toBe("application/octet-stream");
  expect(response.headers.get("content-disposition")).toBe(
    `attachment; filename="<script>_x_.html"; filename*=UTF-8''%3Cscript%3E%22x%22.html`,
  );
});

test("works over HTTP/2 as well", async () => {
  await using files = await openFiles();
  const session = connectHttp2(files.url);
  const url = await files.signed();
  const stream = session.request({ ":path": url.pathname + url.search, range: "bytes=10-19" });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  expect([headers[":status"], headers["content-range"]]).toEqual([206, "bytes 10-19/1000"]);
  expect(Buffer.concat(await stream.toArray()).equals(bytes.subarray(10, 20))).toBe(true);
  session.destroy();
});

describe("refused:", () => {
  test("other methods", async () => {
    await using files = await openFiles();
    for (const method of ["POST", "PUT", "DELETE"]) {
      const response = await files.get({}, method);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  test("a token that nobody made, and paths that are none", async () => {
    await using files = await openFiles();
    for (const path of ["", "x", "A".repeat(22), `ws_a/art_1`, `ws_a/${files.artifactId}/x`, "%2fetc%2fpasswd"]) {
      const response = await fetch(`${files.url}/artifacts/${path}`);
      expect([path, response.status]).toEqual([path, 404]);
      expect(infoOf(await errorOf(response))).toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
      expect(response.headers.get("cache-control")).toBe("private, no-store");
    }
  });

  test("a URL without its signature, changed, or after its time; each on record", async () => {
    await using files = await openFiles();
    const url = await files.signed();
    const before = (await files.box.lines()).length;
    const changed = new URL(url);
    changed.searchParams.set("exp", "1999999999");
    const other = await files.box.artifact();
    for (const bad of [new URL(url.pathname, url), changed, new URL(url.href.replace(files.artifactId, other))]) {
      const response = await fetch(bad);
      expect([response.status, infoOf(await errorOf(response))]).toMatchObject([403, { reason: "PERMISSION_DENIED" }]);
    }
    files.box.pass(5 * 60_000);
    expect((await fetch(url)).status).toBe(403);
    expect((await files.get()).status).toBe(200);
    const lines = (await files.box.lines()).slice(before).map(({ outcome, artifactId }) => [outcome, artifactId]);
    const refused = [AccessOutcome.REFUSED, files.artifactId];
    expect(lines).toEqual([
      refused,
      refused,
      [AccessOutcome.REFUSED, other],
      refused,
      [AccessOutcome.GRANTED, files.artifactId],
    ]);
  });

  test("what was deleted: gone", async () => {
    await using files = await openFiles();
    const url = await files.signed();
    await files.box.record(files.artifactId, { case: "artifactDeleted", value: create(ArtifactDeletedSchema, {}) });
    for (const response of [await files.get(), await fetch(url), await files.get({}, "HEAD")]) {
      expect(response.status).toBe(410);
    }
    expect((await files.box.lines()).at(-1)).toMatchObject({ outcome: AccessOutcome.GONE });
  });

  test("whoever asks too often, with the time to wait", async () => {
    await using files = await openFiles({ box: { perMinute: 2 } });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await files.get()).status);
    const response = await files.get();
    expect([...statuses, response.status]).toEqual([200, 200, 429, 429]);
    expect(response.headers.get("retry-after")).toBe("30");
  });
});

describe("pages of other origins", () => {
  test("may read what they are allowed to, headers included, when they are allowed", async () => {
    const origin = "https://console.example";
    await using files = await openFiles({ allowedOrigins: [origin] });
    const asked = {
      origin,
      "access-control-request-method": "GET",
      "access-control-request-headers": "range,if-range",
    };
    const preflight = await fetch(`${files.url}${files.path}`, { method: "OPTIONS", headers: asked });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")?.toLowerCase()).toContain("if-range");
    const response = await files.get({ origin, range: "bytes=0-1" });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([206, origin]);
    expect(response.headers.get("access-control-expose-headers")).toContain("Content-Range");
  });

  test("may not otherwise", async () => {
    await using files = await openFiles();
    const response = await files.get({ origin: "https://evil.example" });
    expect(response.headers.has("access-control-allow-origin")).toBe(false);
  });
});

describe("trouble with the bytes", () => {
  test("before the first one is an answer that says so", async () => {
    const openContents = () => Promise.reject(new SignalboxError("ARTIFACT_CORRUPT", "the bytes are damaged"));
    await using files = await openFiles({ box: { openContents } });
    const response = await files.get();
    expect([response.status, infoOf(await errorOf(response))]).toMatchObject([500, { reason: "ARTIFACT_CORRUPT" }]);
    expect(response.headers.has("content-disposition")).toBe(false);
    expect(files.logs).toMatchObject([{ msg: "artifact could not be sent" }]);
  });

  /** Reads the whole of a URL. */
  const readers: Record<string, (url: URL) => Promise<unknown>> = {
    "HTTP/1.1": async (url) => bodyOf(await fetch(url)),
    "HTTP/2": async (url) => {
      const session = connectHttp2(url);
      try {
        return Buffer.concat(await session.request({ ":path": url.pathname + url.search }).toArray());
      } finally {
        session.destroy();
      }
    },
  };

  test.each(Object.entries(readers))("after the first one cuts the answer off, over %s", async (_version, read) => {
    async function* damaged() {
      yield await Promise.resolve(bytes.subarray(0, 500));
      throw new SignalboxError("ARTIFACT_CORRUPT", "the bytes are damaged");
    }
    await using files = await openFiles({ box: { openContents: () => Promise.resolve(damaged()) } });
    await expect(read(await files.signed())).rejects.toThrow(/failed|terminated|closed/i);
    await until(() => files.logs.length > 0, { what: "the error in the log" });
    expect(files.logs).toMatchObject([
      { msg: "artifact could not be sent", err: { message: "the bytes are damaged" } },
    ]);
  });
});

/** Bytes without end, and what became of them. */
function endless() {
  const seen = { pieces: 0, closed: false, aborted: false };
  async function* source(signal?: AbortSignal) {
    signal?.addEventListener("abort", () => (seen.aborted = true));
    try {
      for (;;) {
        seen.pieces++;
        yield await Promise.resolve(Buffer.alloc(64 * 1024));
      }
    } finally {
      seen.closed = true;
    }
  }
  const openContents: AccessFixtureOptions["openContents"] = (_known, _span, signal) => Promise.resolve(source(signal));
  return { seen, box: { openContents }, artifact: { sizeBytes: 1n << 40n } };
}

/** A reader over HTTP/1.1 that takes the header and nothing else. */
async function stuckReader(url: URL) {
  const socket = connect(Number(url.port), url.hostname);
  socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n\r\n`);
  await once(socket, "readable");
  return socket;
}

/** Resolves when as much was read as fits on the way, and no more is. */
async function untilStill(seen: { pieces: number }): Promise<number> {
  let before = -1;
  await until(
    () => {
      const same = seen.pieces > 0 && seen.pieces === before;
      before = seen.pieces;
      return same;
    },
    { what: "the source to stand still", intervalMs: 50 },
  );
  return before;
}

describe("a reader", () => {
  test("that takes nothing costs no more memory than what fits on the way, and is dropped after its time", async () => {
    const { seen, ...file } = endless();
    await using files = await openFiles({ ...file, limits: { readerTimeoutMs: 400 } });
    const socket = await stuckReader(await files.signed());
    await until(() => seen.closed, { what: "the source to be closed" });
    // 64 KiB each: what the kernel takes for a socket, not what there is.
    expect(seen.pieces).toBeLessThan(200);
    expect(files.logs).toMatchObject([{ msg: "slow reader of an artifact dropped" }]);
    socket.destroy();
  });

  test("that takes nothing over HTTP/2 holds up its own stream only, and is dropped after its time", async () => {
    const { seen, ...file } = endless();
    await using files = await openFiles({ ...file, limits: { readerTimeoutMs: 400 } });
    const session = connectHttp2(files.url);
    const url = await files.signed();
    const stuck = session.request({ ":path": url.pathname + url.search });
    stuck.pause();
    const dropped = once(stuck, "error");
    await untilStill(seen);
    expect(seen.pieces).toBeLessThan(200);
    const health = session.request({ ":path": "/healthz" });
    expect(Buffer.concat(await health.toArray()).toString()).toBe("ok\n");
    await until(() => seen.closed, { what: "the source to be closed" });
    stuck.resume();
    await dropped;
    session.destroy();
  });

  test("that goes away closes the source", async () => {
    const { seen, ...file } = endless();
    await using files = await openFiles(file);
    const socket = await stuckReader(await files.signed());
    await untilStill(seen);
    expect(seen.closed).toBe(false);
    socket.destroy();
    await until(() => seen.closed && seen.aborted, { what: "the source to be closed" });
    expect(files.logs).toEqual([]);
  });
});

test("without artifacts there is nothing below /artifacts/", async () => {
  await using server = await openTestServer();
  expect((await fetch(`${server.url}/artifacts/${"A".repeat(22)}`)).status).toBe(404);
});
