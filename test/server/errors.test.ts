import { gzipSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { until } from "../support/until.ts";
import { type TestServer, errorOf, infoOf, openTestServer, post, runId } from "./fixture.ts";

const createRun = "signalbox.v1.RunService/CreateRun";

async function codesCounted(server: TestServer, method: string): Promise<Record<string, number>> {
  const { values } = await server.metrics.getSingleMetric("signalbox_rpc_requests_total")!.get();
  return Object.fromEntries(
    values.filter(({ labels }) => labels.method === method).map(({ labels, value }) => [labels.code, value]),
  ) as Record<string, number>;
}

describe("a request that breaks rules of the contract", () => {
  test("is refused with the fields named and each violation listed", async () => {
    await using server = await openTestServer();
    const body = { handler: "not a handler", pageSize: undefined, labels: { ok: "1" }, queue: "?" };
    const response = await post(server, createRun, body);
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toMatch(/^invalid request: handler: .*; queue: /);
    expect(infoOf(error)).toMatchObject({ domain: "signalbox", reason: "INVALID_REQUEST" });
    const detail = error.details?.find(({ type }) => type === ViolationsSchema.typeName);
    const { violations } = fromBinary(ViolationsSchema, Buffer.from(detail?.value ?? "", "base64"));
    expect(violations.map(({ field }) => field?.elements[0]?.fieldName)).toEqual(["handler", "queue"]);
    expect(server.calls).toEqual([]);
  });

  test("is refused for a rule over several fields", async () => {
    await using server = await openTestServer();
    const error = await errorOf(await post(server, createRun, {}));
    expect(error.message).toContain("give exactly one of agent_id and handler");
  });

  test("is refused on a stream too, before its handler is asked", async () => {
    await using server = await openTestServer();
    const client = createClient(EventService, createGrpcTransport({ baseUrl: server.url }));
    const stream = client.subscribe({ filter: { runId: "nope" } })[Symbol.asyncIterator]();
    const error = ConnectError.from(await stream.next().catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: Code.InvalidArgument });
    expect(error.rawMessage).toContain("filter.run_id");
    expect(error.findDetails(ViolationsSchema)).toHaveLength(1);
    expect(server.calls).toEqual([]);
  });

  test("gets an answer of bounded size, however many rules it breaks", async () => {
    await using server = await openTestServer();
    const types = Array.from({ length: 2_000 }, () => "?");
    const response = await post(server, "signalbox.v1.EventService/ListEvents", { filter: { types } });
    const text = await response.text();
    expect(text).toMatch(/and \d+ more/);
    expect(text.length).toBeLessThan(20_000);
  });

  test("is refused for a number that is no value of an enum", async () => {
    await using server = await openTestServer();
    const error = await errorOf(await post(server, createRun, { handler: "echo", zone: 77 }));
    expect(error.message).toContain("zone");
    expect(infoOf(error)).toMatchObject({ reason: "INVALID_REQUEST" });
  });
});

describe("a request that is no message", () => {
  test.each([
    ["text that is not JSON", "{", "JSON"],
    ["an unknown field", { handler: "echo", hander: 1 }, "hander"],
    ["an unknown enum name", { handler: "echo", zone: "ZONE_NOWHERE" }, "ZONE_NOWHERE"],
    ["a wrong type", { handler: 7 }, "handler"],
    ["invalid UTF-8", Buffer.concat([Buffer.from('{"handler":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}')]), "UTF-8"],
  ])("is refused when it is %s", async (_what, body, named) => {
    await using server = await openTestServer();
    const response = await post(server, createRun, body);
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toContain(named);
    expect(infoOf(error)).toMatchObject({ domain: "signalbox", reason: "INVALID_REQUEST" });
    expect(JSON.stringify(error)).not.toMatch(/node_modules|\.ts:|\.js:|\n +at /);
    expect(response.headers.get("x-correlation-id")).toMatch(/^corr_/);
    expect(await codesCounted(server, createRun)).toEqual({ invalid_argument: 1 });
  });

  test.each([
    ["bytes that do not parse", Buffer.of(0xff, 0xff, 0xff)],
    ["text in invalid UTF-8", Buffer.of(0x1a, 0x02, 0xff, 0xfe)],
  ])("is refused when it is binary with %s", async (_what, body) => {
    await using server = await openTestServer();
    const response = await post(server, createRun, body, { "content-type": "application/proto" });
    expect(response.status).toBe(400);
    expect(infoOf(await errorOf(response))).toMatchObject({ reason: "INVALID_REQUEST" });
    expect(server.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  test("is refused in the protocol's own words over gRPC", async () => {
    await using server = await openTestServer();
    const frame = Buffer.concat([Buffer.of(0, 0, 0, 0, 3), Buffer.of(0xff, 0xff, 0xff)]);
    const response = await post(server, createRun, frame, { "content-type": "application/grpc-web+proto" });
    expect(await response.text()).toMatch(/grpc-status: 3\r\n/);
  });
});

describe("a request that is too large", () => {
  const large = { handler: "echo", input: "x".repeat(80_000) };

  test("is refused with the limit named, over HTTP/1.1", async () => {
    await using server = await openTestServer();
    const response = await post(server, createRun, large);
    expect(response.status).toBe(429);
    const error = await errorOf(response);
    expect(error.code).toBe("resource_exhausted");
    expect(infoOf(error)).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "65536", size: String(JSON.stringify(large).length) },
    });
  });

  test("is refused with the limit named, over gRPC", async () => {
    await using server = await openTestServer();
    const client = createClient(RunService, createGrpcTransport({ baseUrl: server.url }));
    const input = { kind: { case: "stringValue", value: large.input } } as const;
    const error = ConnectError.from(await client.createRun({ handler: "echo", input }).catch((e: unknown) => e));
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "PAYLOAD_TOO_LARGE", metadata: { limit: "65536" } },
    ]);
  });

  test("is refused although it was small while it was compressed", async () => {
    await using server = await openTestServer();
    const bomb = gzipSync(JSON.stringify({ handler: "echo", input: "x".repeat(10_000_000) }));
    expect(bomb.length).toBeLessThan(65_536);
    const response = await post(server, createRun, bomb, { "content-encoding": "gzip" });
    expect(response.status).toBe(429);
    expect(infoOf(await errorOf(response))).toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "65536" },
    });
  });

  test("is served when it is just within the limit", async () => {
    await using server = await openTestServer();
    const frame = JSON.stringify({ handler: "echo", input: "" }).length;
    const response = await post(server, createRun, { handler: "echo", input: "x".repeat(65_536 - frame) });
    expect(response.status).toBe(200);
  });
});

describe("a call that the server can not route", () => {
  test("names an unknown method, in the caller's protocol", async () => {
    await using server = await openTestServer();
    const message =
      "/signalbox.v1.RunService/Nope is not a method of this server: its reflection service lists what is";
    const json = await post(server, "signalbox.v1.RunService/Nope", {});
    const error = await errorOf(json);
    expect(error).toMatchObject({ code: "unimplemented", message });
    expect(infoOf(error)).toMatchObject({ reason: "NOT_IMPLEMENTED" });

    const stream = await post(server, "signalbox.v1.RunService/Nope", Buffer.alloc(0), {
      "content-type": "application/connect+json",
    });
    expect(await stream.text()).toContain(`"message":"${message}"`);

    const web = await post(server, "signalbox.v1.RunService/Nope", Buffer.alloc(0), {
      "content-type": "application/grpc-web+proto",
    });
    expect(await web.text()).toContain("grpc-status: 12");
  });

  test("names what a method speaks when the content type is none of it", async () => {
    await using server = await openTestServer();
    const unary = await post(server, createRun, "{}", { "content-type": "text/plain" });
    expect(unary.status).toBe(415);
    expect((await errorOf(unary)).message).toContain("use application/json");
    const stream = await post(server, "signalbox.v1.EventService/Subscribe", "{}");
    expect(stream.status).toBe(415);
    expect((await errorOf(stream)).message).toContain("use application/connect+json");
  });

  test("says that streaming both ways takes HTTP/2", async () => {
    await using server = await openTestServer();
    const response = await post(server, "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Buffer.alloc(0), {
      "content-type": "application/connect+json",
    });
    expect(response.status).toBe(505);
    expect((await errorOf(response)).message).toContain("takes HTTP/2");
  });

  test("refuses a deadline that is too far away", async () => {
    await using server = await openTestServer();
    const response = await post(server, createRun, { handler: "echo" }, { "connect-timeout-ms": "600001" });
    expect(response.status).toBe(400);
    expect(infoOf(await errorOf(response))).toMatchObject({ reason: "INVALID_REQUEST" });
  });
});

describe("an error that nobody expected", () => {
  const secret = "password of the database";

  test("is hidden from the client and logged once with its correlation id", async () => {
    await using server = await openTestServer({
      runs: {
        getRun() {
          throw new Error(secret);
        },
      },
    });
    const response = await post(server, "signalbox.v1.RunService/GetRun", { runId }, { "x-correlation-id": "abc" });
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ code: "internal", message: "internal error" });
    const logged = server.logs.filter(({ level }) => Number(level) >= 50);
    expect(logged).toMatchObject([
      {
        msg: "call failed unexpectedly",
        method: "signalbox.v1.RunService/GetRun",
        correlation_id: "abc",
        err: { message: secret, stack: expect.stringContaining("errors.test.ts") as string },
      },
    ]);
  });

  test("is hidden in the middle of a stream as well", async () => {
    await using server = await openTestServer({
      events: {
        async *subscribe() {
          yield { frame: { case: "ready", value: {} } };
          throw new Error(secret);
        },
      },
    });
    const client = createClient(EventService, createGrpcTransport({ baseUrl: server.url }));
    const stream = client.subscribe({})[Symbol.asyncIterator]();
    await stream.next();
    const error = ConnectError.from(await stream.next().catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: Code.Internal, rawMessage: "internal error" });
    expect(server.logs.filter(({ level }) => Number(level) >= 50)).toHaveLength(1);
    expect(await codesCounted(server, "signalbox.v1.EventService/Subscribe")).toEqual({ internal: 1 });
  });

  test("is logged when it is the answer that does not serialize", async () => {
    await using server = await openTestServer({
      runs: { getRun: () => ({ run: { createTime: { seconds: 10n ** 15n } } }) },
    });
    const response = await post(server, "signalbox.v1.RunService/GetRun", { runId });
    expect(response.status).toBe(500);
    expect(server.logs.filter(({ level }) => Number(level) >= 50)).toHaveLength(1);
  });
});

test("takes a caller who leaves for what it is: no error of ours", async () => {
  const reached = Promise.withResolvers<void>();
  await using server = await openTestServer({
    runs: {
      async waitRun(_request, { signal }) {
        reached.resolve();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        signal.throwIfAborted();
        return {};
      },
    },
  });
  const client = createClient(RunService, createGrpcTransport({ baseUrl: server.url }));
  const controller = new AbortController();
  const call = client.waitRun({ runId }, { signal: controller.signal }).catch(ConnectError.from);
  await reached.promise;
  controller.abort();
  await call;
  const counted = () => codesCounted(server, "signalbox.v1.RunService/WaitRun");
  await until(async () => (await counted()).canceled === 1, { what: "the call to be counted as canceled" });
  expect(server.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
});

test("ends a call at its deadline", async () => {
  await using server = await openTestServer({
    runs: {
      async waitRun(_request, { signal }) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        throw signal.reason;
      },
    },
  });
  const response = await post(server, "signalbox.v1.RunService/WaitRun", { runId }, { "connect-timeout-ms": "20" });
  expect(await response.json()).toEqual({ code: "deadline_exceeded", message: "the operation timed out" });
});
