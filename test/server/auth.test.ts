import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { json } from "node:stream/consumers";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { type ErrorBody, errorOf, infoOf, openTestServer, post } from "./fixture.ts";

const createRun = "signalbox.v1.RunService/CreateRun";
const run = { handler: "echo" };
const token = "s3cret-token";
const auth = { mode: "static_token", token } as const;

test("takes everyone on this machine for one local user when authentication is off", async () => {
  await using server = await openTestServer();
  await post(server, createRun, run);
  expect(server.calls).toMatchObject([{ workspaceId: "ws_dev", principal: { type: PrincipalType.USER, id: "local" } }]);
});

test("takes callers for who they say when authentication is off: the first, on behalf of the others", async () => {
  await using server = await openTestServer();
  await post(server, createRun, run, { "x-on-behalf-of": "agent:agt_1 , user:alice,service:shop" });
  expect(server.calls).toMatchObject([
    {
      principal: {
        type: PrincipalType.AGENT,
        id: "agt_1",
        onBehalfOf: [
          { type: PrincipalType.USER, id: "alice" },
          { type: PrincipalType.SERVICE, id: "shop" },
        ],
      },
    },
  ]);
});

test("takes names for the chain of the program that has the token, which stays the principal", async () => {
  await using server = await openTestServer({ auth });
  const names = Array.from({ length: 8 }, (_, index) => `user:u${index}`);
  await post(server, createRun, run, { authorization: `Bearer ${token}`, "x-on-behalf-of": names.join(",") });
  const onBehalfOf = names.map((_, index) => ({ type: PrincipalType.USER, id: `u${index}` }));
  expect(server.calls).toMatchObject([{ principal: { type: PrincipalType.SERVICE, id: "static_token", onBehalfOf } }]);
});

test.each([
  "",
  "alice",
  "user:",
  "robot:r2",
  "user:alice,",
  "user:a b",

  Array(9).fill("user:a").join(","),
])("refuses to call on behalf of %j", async (names) => {
  await using server = await openTestServer();
  const response = await post(server, createRun, run, { "x-on-behalf-of": names });
  const error = await errorOf(response);
  expect(response.status).toBe(400);
  expect(error.message).toContain("x-on-behalf-of: ");
  expect(infoOf(error)).toMatchObject({ reason: "INVALID_REQUEST", metadata: { field: "x-on-behalf-of" } });
  expect(server.calls).toEqual([]);
});

test("asks for the token before it looks at names", async () => {
  await using server = await openTestServer({ auth });
  expect((await post(server, createRun, run, { "x-on-behalf-of": "nonsense" })).status).toBe(401);
});

test.each(["0.0.0.0", "::", "192.0.2.1"])("refuses to listen on %s without authentication", async (host) => {
  await expect(openTestServer({ host })).rejects.toMatchObject({
    reason: "PERMISSION_DENIED",
    message: expect.stringMatching(/SIGNALBOX_AUTH=static_token.*SIGNALBOX_HOST=127.0.0.1/) as string,
  });
});

test.each(["localhost", "127.0.0.1", "127.0.0.2"])("listens on %s without authentication", async (host) => {
  await using server = await openTestServer({ host });
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("listens on every address with a token", async () => {
  await using server = await openTestServer({ host: "0.0.0.0", auth });
  expect((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status).toBe(200);
});

test("refuses to start with an empty token", async () => {
  await expect(openTestServer({ auth: { mode: "static_token", token: "" } })).rejects.toThrow("set SIGNALBOX_TOKEN");
});

test("does not answer to a foreign name without authentication, so that no web page reaches it by DNS rebinding", async () => {
  await using server = await openTestServer();
  // fetch does not let its caller choose the Host.
  const session = connectHttp2(server.url);
  const stream = session.request({ ":authority": `attacker.example:${server.port}`, ":path": "/healthz" });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  expect(headers[":status"]).toBe(403);
  const error = (await json(stream)) as ErrorBody;
  expect(error.message).toContain("localhost");
  expect(infoOf(error)).toMatchObject({ reason: "PERMISSION_DENIED" });
  session.destroy();
});

test("serves the bearer of the token, in any workspace", async () => {
  await using server = await openTestServer({ auth });
  for (const workspace of ["ws_a", "ws_b"]) {
    const response = await post(server, createRun, run, {
      authorization: `Bearer ${token}`,
      "x-workspace-id": workspace,
    });
    expect(response.status).toBe(200);
  }
  expect(server.calls).toMatchObject([
    { workspaceId: "ws_a", principal: { type: PrincipalType.SERVICE, id: "static_token" } },
    { workspaceId: "ws_b" },
  ]);
});

test.each([
  ["no token", {}, "no token"],
  ["a wrong token", { authorization: "Bearer wrong" }, "unknown token"],
  ["a part of the token", { authorization: `Bearer ${token.slice(0, -1)}` }, "unknown token"],
  ["more than the token", { authorization: `Bearer ${token}x` }, "unknown token"],
  ["another scheme", { authorization: `Basic ${token}` }, "no token"],
  ["the token alone", { authorization: token }, "no token"],
])("refuses %s before it reads the body", async (_what, headers: Record<string, string>, message) => {
  await using server = await openTestServer({ auth });
  // Not JSON, so an error about the body would show that it was read.
  const response = await post(server, createRun, "{", headers);
  expect(response.status).toBe(401);
  const error = await errorOf(response);
  expect(error.message).toContain(message);
  expect(error.message).not.toContain(token);
  expect(infoOf(error)).toMatchObject({ domain: "signalbox", reason: "UNAUTHENTICATED" });
  expect(server.calls).toEqual([]);
});

test("refuses a stream without a token", async () => {
  await using server = await openTestServer({ auth });
  const client = createClient(EventService, createGrpcTransport({ baseUrl: server.url }));
  const stream = client.subscribe({})[Symbol.asyncIterator]();
  await expect(stream.next()).rejects.toThrow("[unauthenticated] no token");
});

test.each(["ws_", "ws_a-b", "org_a", `ws_${"a".repeat(41)}`])("refuses the workspace %j", async (workspace) => {
  await using server = await openTestServer();
  const response = await post(server, createRun, run, { "x-workspace-id": workspace });
  expect(response.status).toBe(400);
  const error = await errorOf(response);
  expect(error.message).toContain("x-workspace-id");
  expect(infoOf(error)).toMatchObject({ reason: "INVALID_REQUEST" });
});

test("keeps figures and reflection for the bearer of the token, and health for everyone", async () => {
  await using server = await openTestServer({ auth });
  const authorization = { authorization: `Bearer ${token}` };
  expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
  expect((await fetch(`${server.url}/metrics`, { headers: authorization })).status).toBe(200);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect((await post(server, "grpc.health.v1.Health/Check", {})).status).toBe(200);
});
