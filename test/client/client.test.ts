import { Code, createRouterTransport } from "@connectrpc/connect";
import { createServer } from "node:http";
import { createServer as createHttp2Server, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { createSignalboxClient, RunService } from "../../src/client/client.ts";

/** A RunService whose answer to GetRun tells what it was called with, as the run's id. */
function echoing(seen: Headers[]) {
  return createRouterTransport((router) =>
    router.service(RunService, {
      getRun(_request, { requestHeader }) {
        seen.push(requestHeader);
        return { run: { runId: "run_1" } };
      },
    }),
  );
}

test("every call carries the token, the workspace and the headers; those of the call win", async () => {
  const seen: Headers[] = [];
  using client = createSignalboxClient({
    transport: echoing(seen),
    token: "secret",
    workspaceId: "ws_a",
    headers: { "x-correlation-id": "c1", "x-other": "o" },
  });
  await client.runs.getRun({ runId: "run_1" }, { headers: { "x-correlation-id": "c2" } });
  await client.runs.getRun({ runId: "run_1" });
  expect(seen.map((header) => Object.fromEntries(header))).toMatchObject([
    { authorization: "Bearer secret", "x-workspace-id": "ws_a", "x-correlation-id": "c2", "x-other": "o" },
    { authorization: "Bearer secret", "x-workspace-id": "ws_a", "x-correlation-id": "c1", "x-other": "o" },
  ]);
});

test("without token and workspace no such header is sent", async () => {
  const seen: Headers[] = [];
  using client = createSignalboxClient({ transport: echoing(seen) });
  await client.runs.getRun({ runId: "run_1" });
  expect(seen[0]?.has("authorization")).toBe(false);
  expect(seen[0]?.has("x-workspace-id")).toBe(false);
});

test.each([
  ["user:alice", "user:alice"],
  [["agent:agt_1", "user:alice"], "agent:agt_1, user:alice"],
])("every call says on whose behalf it is: %j", async (onBehalfOf, expected) => {
  const seen: Headers[] = [];
  using client = createSignalboxClient({ transport: echoing(seen), onBehalfOf });
  await client.runs.getRun({ runId: "run_1" });
  expect(seen[0]?.get("x-on-behalf-of")).toBe(expected);
});

test.each(["alice", "user:", "user:mallory,user:alice", "user:a b", "user:ünicode"])(
  "%j is nobody on whose behalf one could call",
  (onBehalfOf) => {
    expect(() => createSignalboxClient({ transport: echoing([]), onBehalfOf })).toThrow("is no principal");
  },
);

test("a closed client refuses calls; closing twice is fine", async () => {
  const client = createSignalboxClient({ transport: echoing([]) });
  client.close();
  client.close();
  await expect(client.runs.getRun({ runId: "run_1" })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: "the client is closed; create another one",
  });
});

test.each([
  [{}, "give baseUrl"],
  [{ baseUrl: "http://127.0.0.1:1", transport: echoing([]) }, "and not both"],
  [{ baseUrl: "127.0.0.1:8080" }, 'baseUrl "127.0.0.1:8080" is no URL of a server'],
  [{ baseUrl: "ftp://host" }, "is no URL of a server"],
  [{ baseUrl: "http://127.0.0.1:1", protocol: "grpc", httpVersion: "1.1" } as const, "gRPC needs HTTP/2"],
])("options that make no sense are refused: %#", (options, message) => {
  expect(() => createSignalboxClient(options)).toThrow(message);
});

const adapter = connectNodeAdapter({
  routes: (router) => router.service(RunService, { getRun: () => ({ run: { runId: "run_1" } }) }),
});

async function listening(server: ReturnType<typeof createServer> | Http2Server): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each(["connect", "grpc", "grpc-web"] as const)("%s over HTTP/2 uses one connection", async (protocol) => {
  const server = createHttp2Server(adapter);
  let connections = 0;
  server.on("session", () => connections++);
  const client = createSignalboxClient({ baseUrl: await listening(server), protocol });
  const answers = await Promise.all([1, 2, 3].map(() => client.runs.getRun({ runId: "run_1" })));
  expect(answers.map(({ run }) => run?.runId)).toEqual(["run_1", "run_1", "run_1"]);
  expect(connections).toBe(1);
  client.close();
  // Closes only once no connection is left.
  await new Promise((resolve) => void server.close(resolve));
});

test.each(["connect", "grpc-web"] as const)("%s works over HTTP/1.1", async (protocol) => {
  const server = createServer(adapter);
  const client = createSignalboxClient({ baseUrl: await listening(server), protocol, httpVersion: "1.1" });
  const { run } = await client.runs.getRun({ runId: "run_1" });
  expect(run?.runId).toBe("run_1");
  client.close();
  await new Promise((resolve) => void server.close(resolve));
});
