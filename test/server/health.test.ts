import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/health/v1/health_pb.ts";
import type { Server } from "../../src/server/server.ts";
import { openTestServer } from "./fixture.ts";

const healthClient = (server: Server) => createClient(Health, createGrpcTransport({ baseUrl: server.url }));

test.each(["", "signalbox.v1.RunService", "grpc.health.v1.Health"])("serves %j", async (service) => {
  await using server = await openTestServer();
  expect(await healthClient(server).check({ service })).toMatchObject({ status: Status.SERVING });
});

test("does not serve when a part is not ready", async () => {
  await using server = await openTestServer({ readiness: async () => ({ log: "gone" }) });
  expect(await healthClient(server).check({})).toMatchObject({ status: Status.NOT_SERVING });
});

test("lists every service", async () => {
  await using server = await openTestServer();
  const { statuses } = await healthClient(server).list({});
  expect(Object.keys(statuses).toSorted()).toEqual([
    "",
    "grpc.health.v1.Health",
    "signalbox.v1.EventService",
    "signalbox.v1.RunService",
  ]);
  expect(statuses[""]).toMatchObject({ status: Status.SERVING });
});

test("does not know a service that is not there", async () => {
  await using server = await openTestServer();
  const client = healthClient(server);
  await expect(client.check({ service: "nope" })).rejects.toMatchObject({ code: Code.NotFound });
  const watch = client.watch({ service: "nope" })[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: Status.SERVICE_UNKNOWN });
});

test("tells a watcher of each change, and of the drain last", async () => {
  let log = "ok";
  await using server = await openTestServer({ readiness: async () => ({ log }) });
  const watch = healthClient(server).watch({})[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });
  log = "gone";
  expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
  log = "ok";
  expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });
  const disposed = server[Symbol.asyncDispose]();
  expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
  const error = ConnectError.from(await watch.next().catch((reason: unknown) => reason));
  expect(error).toMatchObject({ code: Code.Unavailable });
  await disposed;
});
