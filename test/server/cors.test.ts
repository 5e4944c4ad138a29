import { describe, expect, test } from "vitest";
import { openTestServer, post, runId } from "./fixture.ts";

const origin = "https://console.example";
const createRun = "signalbox.v1.RunService/CreateRun";

function preflight(url: string, from: string) {
  return fetch(`${url}/${createRun}`, {
    method: "OPTIONS",
    headers: {
      origin: from,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,connect-protocol-version,x-workspace-id",
    },
  });
}

describe("an origin that is allowed", () => {
  test("may send what Connect-Web, gRPC-Web and Signalbox send", async () => {
    await using server = await openTestServer({ allowedOrigins: [origin] });
    const response = await preflight(server.url, origin);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("access-control-allow-methods")).toBe("POST, GET");
    expect(response.headers.get("vary")).toBe("Origin");
    expect(response.headers.has("access-control-allow-credentials")).toBe(false);
    const allowed = response.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
    expect(allowed).toEqual(
      expect.arrayContaining([
        "authorization",
        "connect-protocol-version",
        "connect-timeout-ms",
        "content-type",
        "grpc-timeout",
        "traceparent",
        "x-correlation-id",
        "x-grpc-web",
        "x-on-behalf-of",
        "x-user-agent",
        "x-workspace-id",
      ]),
    );
  });

  test("may read the answer, its correlation id and its gRPC status", async () => {
    await using server = await openTestServer({ allowedOrigins: [origin] });
    const response = await post(server, createRun, { handler: "echo" }, { origin });
    expect(await response.json()).toMatchObject({ run: { runId } });
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    const exposed = response.headers.get("access-control-expose-headers")?.toLowerCase().split(", ");
    expect(exposed).toEqual(expect.arrayContaining(["grpc-status", "grpc-message", "x-correlation-id"]));
  });

  test("may read errors", async () => {
    await using server = await openTestServer({ allowedOrigins: [origin] });
    const response = await post(server, createRun, {}, { origin });
    expect(response.status).toBe(400);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
  });
});

describe("an origin that is not allowed", () => {
  test.each([
    ["another", [origin], "https://attacker.example"],
    ["another port", [origin], `${origin}:8443`],
    ["null", [origin], "null"],
    ["any when none is", [], origin],
  ])("is refused: %s", async (_what, allowedOrigins, from) => {
    await using server = await openTestServer({ allowedOrigins });
    const response = await preflight(server.url, from);
    expect(response.status).toBe(403);
    expect(response.headers.has("access-control-allow-origin")).toBe(false);
    expect(await response.text()).toContain("SIGNALBOX_ALLOWED_ORIGINS");
    const call = await post(server, createRun, { handler: "echo" }, { origin: from });
    expect(call.headers.has("access-control-allow-origin")).toBe(false);
  });
});
