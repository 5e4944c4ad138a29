import { readdir } from "node:fs/promises";
import type { DescService } from "@bufbuild/protobuf";
import { type ConnectRouter, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { type Call, callOf } from "../../src/kernel/call.ts";
import { isAnonymous } from "../../src/kernel/principal.ts";
import type { AuthSettings } from "../../src/server/auth.ts";
import { openMethods } from "../../src/server/open-methods.ts";
import { openServer } from "../../src/server/server.ts";
import { type ErrorBody, infoOf, post } from "./fixture.ts";

const folder = new URL("../../gen/signalbox/v1/", import.meta.url);
const token = "s3cret-token";
const open = [
  "signalbox.v1.ArtifactService/AnswerAccessChallenge",
  "signalbox.v1.ArtifactService/CreateAccessChallenge",
];

/** Every service of the contract. */
async function allServices(): Promise<DescService[]> {
  const services: DescService[] = [];
  for (const file of await readdir(folder)) {
    if (!file.endsWith("_service_pb.ts")) continue;
    const module = (await import(new URL(file, folder).href)) as Record<string, { kind?: string } | undefined>;
    services.push(...Object.values(module).filter((value): value is DescService => value?.kind === "service"));
  }
  return services;
}

/** A server of the whole contract; challenges are answered, the rest is not implemented. */
async function openContract(services: DescService[], auth: AuthSettings, publicUrl?: string) {
  const calls: Call[] = [];
  const server = await openServer({
    host: "127.0.0.1",
    port: 0,
    auth,
    publicUrl,
    allowedOrigins: [],
    reflection: false,
    services,
    readiness: () => Promise.resolve({}),
    maxRequestBytes: 64 * 1024,
    draining: new AbortController(),
    metrics: new Registry(),
    log: pino({ level: "silent" }),
    routes(router: ConnectRouter) {
      for (const service of services) {
        const isArtifacts = service.typeName === ArtifactService.typeName;
        if (!isArtifacts) router.service(service, {});
      }
      router.service(ArtifactService, {
        createAccessChallenge(_request, context) {
          calls.push(callOf(context));
          return { challenge: "sign this" };
        },
      });
    },
  });
  return { ...server, calls };
}

const request = { artifactId: "art_00000000000000000000000001", grantee: { ethereumAddress: `0x${"ab".repeat(20)}` } };
const challenge = "signalbox.v1.ArtifactService/CreateAccessChallenge";

test("who needs no credential sends 16 KiB at most", async () => {
  await using server = await openContract(await allServices(), { mode: "static_token", token });
  const large = await post(server, challenge, { ...request, artifactId: "x".repeat(17 * 1024) });
  expect(large.status).toBe(429);
  expect(infoOf((await large.json()) as ErrorBody)).toMatchObject({
    reason: "PAYLOAD_TOO_LARGE",
    metadata: { limit: "16384" },
  });
});

test("exactly the challenges need no credential; every other method of the contract does", async () => {
  const services = await allServices();
  expect(services.length).toBeGreaterThan(10);
  expect([...openMethods].map(({ parent, name }) => `${parent.typeName}/${name}`).toSorted()).toEqual(open);
  await using server = await openContract(services, { mode: "static_token", token });
  const reachable: string[] = [];
  for (const service of services) {
    const client = createClient(service, createConnectTransport({ baseUrl: server.url, httpVersion: "2" }));
    for (const { name, localName, methodKind } of service.methods) {
      const call = (client as unknown as Record<string, (request: unknown) => unknown>)[localName];
      const input =
        methodKind.endsWith("streaming") && methodKind !== "server_streaming" ? (async function* () {})() : {};
      const error: unknown = await settle(call?.(input)).catch((caught: unknown) => caught);
      if (!String(error).includes("[unauthenticated] no token")) reachable.push(`${service.typeName}/${name}`);
    }
  }
  expect(reachable.toSorted()).toEqual(open);
});

/** Waits for a response, or for the first message of a stream. */
async function settle(answer: unknown): Promise<unknown> {
  if (typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer) {
    return (answer as AsyncIterable<unknown>)[Symbol.asyncIterator]().next();
  }
  return answer;
}

test("whoever has no credential there is nobody, speaks for nobody, and is known by their address", async () => {
  await using server = await openContract([ArtifactService], { mode: "static_token", token });
  const response = await post(server, challenge, request, { "x-on-behalf-of": "user:alice", "x-workspace-id": "ws_a" });
  expect([response.status, await response.json()]).toEqual([200, { challenge: "sign this" }]);
  const [call] = server.calls;
  expect(call).toMatchObject({ workspaceId: "ws_a", remoteAddress: "127.0.0.1", serverUrl: server.url });
  expect(call && isAnonymous(call.principal)).toBe(true);
  expect(call?.principal.onBehalfOf).toEqual([]);
});

test("a credential counts where none is needed, and a wrong one is refused", async () => {
  await using server = await openContract([ArtifactService], { mode: "static_token", token });
  await post(server, challenge, request, { authorization: `Bearer ${token}`, "x-on-behalf-of": "user:alice" });
  expect(server.calls).toMatchObject([{ principal: { id: "static_token", onBehalfOf: [{ id: "alice" }] } }]);
  expect((await post(server, challenge, request, { authorization: "Bearer wrong" })).status).toBe(401);
});

test("without authentication callers are who they say there as well", async () => {
  await using server = await openContract([ArtifactService], { mode: "none" });
  await post(server, challenge, request);
  await post(server, challenge, request, { "x-on-behalf-of": "user:alice" });
  expect(server.calls).toMatchObject([
    { principal: { type: PrincipalType.USER, id: "local" } },
    { principal: { type: PrincipalType.USER, id: "alice" } },
  ]);
});

test("what is not valid is refused there too", async () => {
  await using server = await openContract([ArtifactService], { mode: "static_token", token });
  const response = await post(server, challenge, { artifactId: "x" });
  const error = (await response.json()) as Parameters<typeof infoOf>[0];
  expect([response.status, infoOf(error)]).toMatchObject([400, { reason: "INVALID_REQUEST" }]);
});

test("links begin with the public address when there is one, whatever a request says", async () => {
  await using server = await openContract([ArtifactService], { mode: "none" }, "https://box.example/signalbox");
  await post(server, challenge, request, { "x-forwarded-host": "evil.example", "x-forwarded-for": "203.0.113.1" });
  expect(server.calls).toMatchObject([{ serverUrl: "https://box.example/signalbox", remoteAddress: "127.0.0.1" }]);
});
