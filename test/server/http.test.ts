import { once } from "node:events";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { until } from "../support/until.ts";
import { errorOf, infoOf, openTestServer, post } from "./fixture.ts";

test("is alive as long as it answers, and ready when every part is", async () => {
  await using server = await openTestServer();
  const alive = await fetch(`${server.url}/healthz`);
  expect([alive.status, await alive.text()]).toEqual([200, "ok\n"]);
  const ready = await fetch(`${server.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { ready: true, parts: { log: "ok", read_model: "ok" } }]);
});

test("names the part that is not ready", async () => {
  await using server = await openTestServer({
    readiness: async () => ({ log: "ok", read_model: "Postgres does not answer" }),
  });
  const response = await fetch(`${server.url}/readyz`);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({
    ready: false,
    parts: { log: "ok", read_model: "Postgres does not answer" },
  });
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("is not ready when the check itself fails, and logs why", async () => {
  await using server = await openTestServer({ readiness: () => Promise.reject(new Error("secret address")) });
  const response = await fetch(`${server.url}/readyz`);
  expect(response.status).toBe(503);
  expect(await response.text()).not.toContain("secret");
  expect(server.logs).toMatchObject([{ msg: "readiness check failed", err: { message: "secret address" } }]);
});

test("asks its parts once for many probes", async () => {
  let asked = 0;
  await using server = await openTestServer({
    readiness: async () => {
      asked++;
      return { log: "ok" };
    },
  });
  await Promise.all(Array.from({ length: 20 }, () => fetch(`${server.url}/readyz`)));
  expect(asked).toBe(1);
});

test("is not ready while it drains, although it still answers", async () => {
  await using server = await openTestServer();
  server.draining.abort();
  const response = await fetch(`${server.url}/readyz`);
  expect([response.status, await response.json()]).toEqual([503, { ready: false, parts: { server: "draining" } }]);
});

test("counts calls by method and code", async () => {
  await using server = await openTestServer();
  await post(server, "signalbox.v1.RunService/CreateRun", { handler: "echo" });
  await post(server, "signalbox.v1.RunService/CreateRun", {});
  const response = await fetch(`${server.url}/metrics`);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0.0.4/);
  const text = await response.text();
  const method = 'method="signalbox.v1.RunService/CreateRun"';
  expect(text).toContain(`signalbox_rpc_requests_total{${method},code="ok"} 1`);
  expect(text).toContain(`signalbox_rpc_requests_total{${method},code="invalid_argument"} 1`);
  expect(text).toContain(`signalbox_rpc_duration_seconds_count{${method}} 2`);
});

test("counts open streams, and a reader who leaves as canceled", async () => {
  await using server = await openTestServer({
    events: {
      async *subscribe(_request, { signal }) {
        yield { frame: { case: "ready", value: {} } };
        await once(signal, "abort");
      },
    },
  });
  const method = 'method="signalbox.v1.EventService/Subscribe"';
  const client = createClient(EventService, createGrpcTransport({ baseUrl: server.url }));
  const reader = new AbortController();
  const stream = client.subscribe({}, { signal: reader.signal })[Symbol.asyncIterator]();
  await stream.next();
  expect(await server.metrics.metrics()).toContain(`signalbox_rpc_open_streams{${method}} 1`);
  reader.abort();
  await expect(stream.next()).rejects.toThrow("canceled");
  const closed = async () => (await server.metrics.metrics()).includes(`signalbox_rpc_open_streams{${method}} 0`);
  await until(closed, { what: "the stream to be closed" });
  expect(await server.metrics.metrics()).toContain(`signalbox_rpc_requests_total{${method},code="canceled"} 1`);
});

test("says hello and what to try", async () => {
  await using server = await openTestServer();
  const text = await (await fetch(server.url)).text();
  expect(text).toContain(`${server.url}/signalbox.v1.RunService/CreateRun`);
});

test("says where to go when there is nothing at a path", async () => {
  await using server = await openTestServer();
  const response = await fetch(`${server.url}/nope?x=1`);
  expect(response.status).toBe(404);
  const error = await errorOf(response);
  expect(error.message).toBe("nothing is at /nope: try GET /, or POST /signalbox.v1.RunService/CreateRun");
  expect(infoOf(error)).toMatchObject({ reason: "NOT_IMPLEMENTED" });
});

test("is read only", async () => {
  await using server = await openTestServer();
  expect((await fetch(`${server.url}/metrics`, { method: "DELETE" })).status).toBe(405);
  const head = await fetch(`${server.url}/healthz`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});
