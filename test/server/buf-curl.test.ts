import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import type { Server } from "../../src/server/server.ts";
import { openTestServer, runId } from "./fixture.ts";

const run = promisify(execFile);

/** `buf curl` without a schema: it asks the server's reflection. */
async function bufCurl(server: Server, protocol: string, method: string, data: unknown, ...more: string[]) {
  const args = ["curl", "--http2-prior-knowledge", "--protocol", protocol, "--data", JSON.stringify(data), ...more];
  const { stdout } = await run("node_modules/.bin/buf", [...args, `${server.url}/${method}`]);
  return stdout;
}

describe.each(["grpc", "grpcweb", "connect"])("buf curl with reflection over %s", (protocol) => {
  test("makes unary calls", async () => {
    await using server = await openTestServer();
    const answer = await bufCurl(server, protocol, "signalbox.v1.RunService/CreateRun", {
      handler: "echo",
      input: [1],
    });
    expect(JSON.parse(answer)).toEqual({ run: { runId, workspaceId: "ws_dev", handler: "echo", input: [1] } });
  });

  test("reads streams", async () => {
    await using server = await openTestServer();
    const answer = await bufCurl(server, protocol, "signalbox.v1.EventService/Subscribe", {});
    expect(answer.match(/"position": "\d"/g)).toEqual(['"position": "1"', '"position": "2"']);
  });

  test("shows errors with their details", async () => {
    await using server = await openTestServer();
    const call = bufCurl(server, protocol, "signalbox.v1.RunService/CreateRun", {});
    await expect(call).rejects.toMatchObject({
      stderr: expect.stringMatching(/"code": "invalid_argument"[^]*give exactly one of agent_id and handler/) as string,
    });
  });

  test("passes the token", async () => {
    await using server = await openTestServer({ auth: { mode: "static_token", token: "secret" } });
    const authorization = "authorization: Bearer secret";
    const headers = ["--header", authorization, "--reflect-header", authorization];
    const answer = await bufCurl(server, protocol, "signalbox.v1.RunService/GetRun", { runId }, ...headers);
    expect(JSON.parse(answer)).toEqual({ run: { runId } });
  });
});
