import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from "node:http2";
import { text } from "node:stream/consumers";
import { createServer, connect, type Socket } from "node:net";
import { once } from "node:events";
import { expect, test } from "vitest";
import type { Server } from "../../src/server/server.ts";
import { until } from "../support/until.ts";
import { openTestServer, post, runId } from "./fixture.ts";

const createRun = "signalbox.v1.RunService/CreateRun";

async function open(server: Server): Promise<{ socket: Socket; received: () => string; closed: () => boolean }> {
  const socket = connect(server.port, "127.0.0.1");
  let received = "";
  let closed = false;
  socket.on("data", (chunk) => (received += chunk.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => (closed = true));
  await once(socket, "connect");
  return { socket, received: () => received, closed: () => closed };
}

async function writeByteByByte(socket: Socket, bytes: Buffer): Promise<void> {
  socket.setNoDelay();
  for (const byte of bytes) {
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
    await new Promise(setImmediate);
  }
}

test("serves HTTP/1.1 to a client that sends one byte at a time", async () => {
  await using server = await openTestServer();
  const { socket, received } = await open(server);
  const body = JSON.stringify({ handler: "echo" });
  const head = `POST /${createRun} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  await writeByteByByte(socket, Buffer.from(head + body));
  await until(() => received().includes(runId), { what: "the answer" });
  expect(received()).toMatch(/^HTTP\/1.1 200 OK/);
  socket.destroy();
});

test("serves HTTP/2 to a client whose bytes arrive one at a time", async () => {
  await using server = await openTestServer();
  const dripping = createServer((client) => {
    const upstream = connect(server.port, "127.0.0.1");
    client.on("data", (chunk: Buffer) => {
      client.pause();
      void writeByteByByte(upstream, chunk).then(() => client.resume());
    });
    upstream.pipe(client);
    for (const socket of [client, upstream]) socket.on("error", () => {});
    client.on("close", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => dripping.listen(0, "127.0.0.1", resolve));
  const session = connectHttp2(`http://127.0.0.1:${(dripping.address() as { port: number }).port}`);
  const answer = await request(session, `/${createRun}`, { handler: "echo" });
  expect(answer).toContain(runId);
  session.destroy();
  dripping.close();
});

async function request(session: ClientHttp2Session, path: string, body: unknown): Promise<string> {
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/json" });
  stream.end(JSON.stringify(body));
  let answer = "";
  for await (const chunk of stream) answer += String(chunk);
  return answer;
}

test("serves a body that comes in one piece with its header", async () => {
  await using server = await openTestServer();
  const { socket, received } = await open(server);
  const body = JSON.stringify({ handler: "echo", input: "x".repeat(50_000) });
  socket.write(
    `POST /${createRun} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await until(() => received().length > 50_000, { what: "the answer" });
  expect(received()).toMatch(/^HTTP\/1.1 200 OK/);
  socket.destroy();
});

test.each([
  ["garbage", Buffer.from([0x16, 0x03, 0x01, 0x00, 0xff, 0x00, 0x0d, 0x0a, 0x0d, 0x0a])],
  ["a method that begins like HTTP/2", Buffer.from("PROPFIND\r\n\r\n")],
  ["a broken HTTP/2 preface", Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n and what not")],
  ["invalid HTTP/2 frames", Buffer.from(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(64)}`, "latin1")],
])("closes a connection that sends %s and serves the next", async (_what, bytes) => {
  await using server = await openTestServer();
  const { socket, closed } = await open(server);
  socket.write(bytes);
  await until(closed, { what: "the connection to close" });
  expect((await post(server, createRun, { handler: "echo" })).status).toBe(200);
});

test("survives peers that reset in the middle of everything", async () => {
  await using server = await openTestServer();
  const beginnings = [
    "",
    "P",
    "PRI",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST / HT",
    `POST /${createRun} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
  ];
  for (const beginning of beginnings) {
    const { socket } = await open(server);
    await new Promise((resolve) => socket.write(beginning, resolve));
    socket.resetAndDestroy();
  }
  expect((await post(server, createRun, { handler: "echo" })).status).toBe(200);
});

test("closes a connection that says nothing", async () => {
  await using server = await openTestServer({ limits: { firstBytesTimeoutMs: 30 } });
  const silent = await open(server);
  const undecided = await open(server);
  undecided.socket.write("PR");
  await until(() => silent.closed() && undecided.closed(), { what: "both connections to close" });
  expect(silent.received() + undecided.received()).toBe("");
});

test("closes a connection whose header or body does not arrive", async () => {
  const limits = { headersTimeoutMs: 30, requestTimeoutMs: 30, timeoutCheckIntervalMs: 10 };
  await using server = await openTestServer({ limits });
  const header = await open(server);
  header.socket.write("POST / HTTP/1.1\r\nhost: localhost\r\n");
  const body = await open(server);
  body.socket.write(
    `POST /${createRun} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
  );
  await until(() => header.closed() && body.closed(), { what: "both connections to close" });
  expect(header.received()).toMatch(/^HTTP\/1.1 408/);
});

test("refuses a body over HTTP/2 that does not arrive, and keeps the connection", async () => {
  await using server = await openTestServer({ limits: { headersTimeoutMs: 30, requestTimeoutMs: 30 } });
  const session = connectHttp2(server.url);
  try {
    const stream = session.request({ ":method": "POST", ":path": `/${createRun}`, "content-type": "application/json" });
    stream.write("{");
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    expect(headers[":status"]).toBe(400);
    expect(await text(stream)).toContain("did not arrive");
    expect(session.closed).toBe(false);
  } finally {
    session.destroy();
  }
});

test("lets an answer take longer than a request may", async () => {
  const limits = { headersTimeoutMs: 30, requestTimeoutMs: 30, timeoutCheckIntervalMs: 10 };
  const finish = Promise.withResolvers<void>();
  await using server = await openTestServer({
    limits,
    runs: {
      async waitRun() {
        await finish.promise;
        return { run: { runId } };
      },
    },
  });
  const slow = post(server, "signalbox.v1.RunService/WaitRun", { runId });
  // A request that is refused for its slowness shows that the limits have been looked at since.
  const header = await open(server);
  header.socket.write("POST / HTTP/1.1\r\n");
  await until(header.closed, { what: "the slow request to be closed" });
  finish.resolve();
  expect(await (await slow).json()).toEqual({ run: { runId } });
});

test("refuses headers that are too large, over both protocols", async () => {
  await using server = await openTestServer();
  const large = "x".repeat(20_000);
  const http1 = await fetch(`${server.url}/healthz`, { headers: { large } });
  expect(http1.status).toBe(431);

  // A peer is held to the limit once it has acknowledged it.
  const session = connectHttp2(server.url);
  await once(session, "remoteSettings");
  const stream = session.request({ ":path": "/healthz", large });
  stream.end();
  await expect(once(stream, "response")).rejects.toThrow("NGHTTP2_ENHANCE_YOUR_CALM");
  session.destroy();
});

test("refuses more headers than anyone needs", async () => {
  await using server = await openTestServer();
  const session = connectHttp2(server.url);
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`h${i}`, "x"]));
  const stream = session.request({ ":path": "/healthz", ...many });
  stream.end();
  await expect(once(stream, "response")).rejects.toThrow("NGHTTP2_ENHANCE_YOUR_CALM");
  session.destroy();
});

test("allows 100 streams on a connection", async () => {
  await using server = await openTestServer();
  const session = connectHttp2(server.url);
  await once(session, "remoteSettings");
  expect(session.remoteSettings.maxConcurrentStreams).toBe(100);
  session.destroy();
});

test("closes HTTP/2 connections that are idle or old, but lets their streams finish", async () => {
  const finish = Promise.withResolvers<void>();
  await using server = await openTestServer({
    limits: { pingIntervalMs: 20, idleTimeoutMs: 10, maxAgeMs: 60 },
    runs: {
      async waitRun() {
        await finish.promise;
        return { run: { runId } };
      },
    },
  });
  const idle = connectHttp2(server.url);
  await once(idle, "close");

  const busy = connectHttp2(server.url);
  const answer = request(busy, "/signalbox.v1.RunService/WaitRun", { runId });
  await once(busy, "goaway");
  finish.resolve();
  expect(await answer).toContain(runId);
});

test("notices an HTTP/2 peer that does not answer pings", async () => {
  await using server = await openTestServer({ limits: { pingIntervalMs: 20 } });
  const { socket, closed } = await open(server);
  // The preface and an empty SETTINGS frame: a session whose peer then never says a word.
  socket.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from("000000040000000000", "hex")]),
  );
  expect(await until(closed, { what: "the connection to close" })).toBe(true);
});

test.each(["[", "a b", "", "localhost:99999999", "x@localhost"])(
  "answers a request whose Host is %j without harm",
  async (host) => {
    await using server = await openTestServer();
    const { socket, received } = await open(server);
    socket.write(
      `POST /${createRun} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
    );
    await until(() => received().includes("\r\n\r\n"), { what: "an answer" });
    expect(received()).toMatch(/^HTTP\/1.1 4\d\d/);
    expect((await post(server, createRun, { handler: "echo" })).status).toBe(200);
    socket.destroy();
  },
);

test("answers HTTP/1.0 without a Host", async () => {
  await using server = await openTestServer({ auth: { mode: "static_token", token: "secret" } });
  const { socket, received } = await open(server);
  socket.write(`POST /${createRun} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`);
  await until(() => received().includes("no host"), { what: "an answer" });
  expect(received()).toMatch(/^HTTP\/1.1 400/);
  socket.destroy();
});

test("says who has the port and what to do when it is taken", async () => {
  await using server = await openTestServer();
  await expect(openTestServer({ port: server.port })).rejects.toMatchObject({
    reason: "INVALID_STATE",
    message: `port ${server.port} on 127.0.0.1 is taken: stop what uses it, or set SIGNALBOX_PORT (0 for any)`,
  });
});

test("refuses connections beyond the limit and takes them again later", async () => {
  await using server = await openTestServer({ limits: { maxConnections: 1 } });
  const first = await open(server);
  const second = await open(server);
  await until(second.closed, { what: "the second connection to close" });
  first.socket.destroy();
  const served = () =>
    post(server, createRun, { handler: "echo" }).then(
      (response) => response.ok,
      () => false,
    );
  expect(await until(served, { what: "an answer" })).toBe(true);
});
