import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { until } from "../support/until.ts";
import { type TestServerOptions, openTestServer, post, runId, transports } from "./fixture.ts";

/** A server whose WaitRun says when it was reached and answers when the test says so. */
async function openWaitingServer(options: TestServerOptions = {}) {
  const reached = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const server = await openTestServer({
    ...options,
    runs: {
      async waitRun(_request, { signal }) {
        reached.resolve();
        await Promise.race([finish.promise, once(signal, "abort")]);
        signal.throwIfAborted();
        return { run: { runId } };
      },
    },
  });
  return { server, reached: reached.promise, finish: () => finish.resolve() };
}

describe.each(Object.entries(transports))("while the server drains, over %s", (_name, createTransport) => {
  test("a call in flight finishes", async () => {
    const { server, reached, finish } = await openWaitingServer();
    const answer = createClient(RunService, createTransport(server.url)).waitRun({ runId });
    await reached;
    const disposed = server[Symbol.asyncDispose]();
    finish();
    expect(await answer).toMatchObject({ run: { runId } });
    await disposed;
  });

  test("a stream that looks at the draining signal ends with DRAINING", async () => {
    await using server = await openTestServer({
      events: {
        async *subscribe() {
          yield { frame: { case: "ready", value: {} } };
          await once(server.draining.signal, "abort");
          throw new SignalboxError("DRAINING", "resume elsewhere");
        },
      },
    });
    const client = createClient(EventService, createTransport(server.url));
    const stream = client.subscribe({})[Symbol.asyncIterator]();
    await stream.next();
    const disposed = server[Symbol.asyncDispose]();
    const error = ConnectError.from(await stream.next().catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: "resume elsewhere" });
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DRAINING" }]);
    await disposed;
  });

  test("a call that looks at nothing but its own signal is told DRAINING when the time is up", async () => {
    const { server, reached } = await openWaitingServer({ drainTimeoutMs: 50 });
    const call = createClient(RunService, createTransport(server.url)).waitRun({ runId });
    const answer = call.catch((reason: unknown) => ConnectError.from(reason));
    await reached;
    await server[Symbol.asyncDispose]();
    const error = (await answer) as ConnectError;
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DRAINING" }]);
  });
});

test("a stream that just stops when the time is up is told DRAINING, so that nobody takes it for complete", async () => {
  const server = await openTestServer({
    drainTimeoutMs: 50,
    events: {
      async *subscribe(_request, { signal }) {
        yield { frame: { case: "ready", value: {} } };
        await once(signal, "abort");
      },
    },
  });
  const client = createClient(EventService, createGrpcTransport({ baseUrl: server.url }));
  const stream = client.subscribe({})[Symbol.asyncIterator]();
  await stream.next();
  const end = stream.next().catch((reason: unknown) => reason);
  await server[Symbol.asyncDispose]();
  expect(ConnectError.from(await end).findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DRAINING" }]);
});

test("a call that ends for nothing does not hold up the drain", async () => {
  const reached = Promise.withResolvers<void>();
  const never = new Promise<never>(() => {});
  const server = await openTestServer({
    drainTimeoutMs: 50,
    runs: {
      waitRun() {
        reached.resolve();
        return never;
      },
    },
  });
  const answer = post(server, "signalbox.v1.RunService/WaitRun", { runId }).catch((error: unknown) => error);
  await reached.promise;
  await server[Symbol.asyncDispose]();
  expect(await answer).toBeInstanceOf(Error);
});

test("new connections and new streams are refused while calls finish", async () => {
  const { server, reached, finish } = await openWaitingServer();
  const session = connectHttp2(server.url);
  const stream = session.request({
    ":method": "POST",
    ":path": "/signalbox.v1.RunService/WaitRun",
    "content-type": "application/json",
  });
  stream.end(JSON.stringify({ runId }));
  await reached;
  const goaway = once(session, "goaway");
  const disposed = server[Symbol.asyncDispose]();
  await goaway;
  await expect(once(session.request({ ":path": "/healthz" }), "response")).rejects.toThrow("GOAWAY");
  await expect(once(connect(server.port, "127.0.0.1"), "connect")).rejects.toThrow("ECONNREFUSED");
  finish();
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  expect(headers[":status"]).toBe(200);
  stream.resume();
  await disposed;
});

test("connections without a call are closed at once", async () => {
  const { server, reached, finish } = await openWaitingServer();
  const answer = post(server, "signalbox.v1.RunService/WaitRun", { runId });
  await reached;
  const beginnings = ["", "PR", "POST / HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"];
  const sockets = await Promise.all(
    beginnings.map(async (beginning) => {
      const socket = connect(server.port, "127.0.0.1").on("error", () => {});
      await once(socket, "connect");
      await new Promise((resolve) => socket.write(beginning, resolve));
      return socket.resume();
    }),
  );
  const idleSession = connectHttp2(server.url);
  await once(idleSession, "remoteSettings");
  const disposed = server[Symbol.asyncDispose]();
  await until(() => sockets.every((socket) => socket.closed) && idleSession.closed, { what: "the idle to be closed" });
  finish();
  expect((await answer).headers.get("connection")).toBe("close");
  await disposed;
});

test("disposing twice drains once", async () => {
  const server = await openTestServer();
  const first = server[Symbol.asyncDispose]();
  expect(server[Symbol.asyncDispose]()).toBe(first);
  await first;
  await server[Symbol.asyncDispose]();
});

test("the draining signal says why", async () => {
  const server = await openTestServer();
  await server[Symbol.asyncDispose]();
  expect(server.draining.signal.reason).toMatchObject({ reason: "DRAINING" });
});
