import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { createMcpHandler } from "@modelcontextprotocol/server";
import { afterEach, expect, test } from "vitest";
import { type McpServerOptions, type McpTools, openMcpTools } from "../../../src/tools/mcp.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { until } from "../../support/until.ts";
import { errorOf, recordingLog, resultOf, toolErrorOf } from "../calling.ts";
import { createTestServer } from "./test-server.ts";

const log = recordingLog();
let opened = new AsyncDisposableStack();
afterEach(async () => {
  await opened.disposeAsync();
  opened = new AsyncDisposableStack();
});

/** An HTTP server on loopback that can be ended and started again. */
interface TestHost {
  readonly url: string;
  stop(): void;
  start(): Promise<void>;
}

async function host(listener: RequestListener): Promise<TestHost> {
  let server: Server | undefined;
  let port = 0;
  function stop(): void {
    server?.close();
    server?.closeAllConnections();
    server = undefined;
  }
  async function start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server = createServer(listener).once("error", reject).listen(port, "127.0.0.1", resolve);
    await promise;
    port = (server.address() as AddressInfo).port;
  }
  opened.defer(stop);
  await start();
  return { url: `http://127.0.0.1:${port}/mcp`, stop, start };
}

/** The test server over streamable HTTP. `before` may answer in its place, by returning true. */
function mcpHost(
  before: (request: IncomingMessage, response: ServerResponse) => boolean = () => false,
  options: Parameters<typeof createMcpHandler>[1] = {},
): Promise<TestHost> {
  const handler = createMcpHandler(() => createTestServer("http"), options);
  opened.defer(() => handler.close());
  return host((request, response) => {
    if (before(request, response)) return;
    void answer(handler, request, response);
  });
}

async function answer(
  handler: ReturnType<typeof createMcpHandler>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  const isRead = request.method === "GET" || request.method === "HEAD";
  const answered = await handler.fetch(
    new Request(`http://127.0.0.1${request.url}`, {
      method: request.method ?? "GET",
      headers: request.headers as Record<string, string>,
      signal: gone.signal,
      ...(isRead ? {} : { body: Readable.toWeb(request) as ReadableStream, duplex: "half" }),
    }),
  );
  response.writeHead(answered.status, Object.fromEntries(answered.headers));
  if (answered.body === null) response.end();
  else
    Readable.fromWeb(answered.body)
      .on("error", () => response.destroy())
      .pipe(response);
}

async function open(options: Partial<McpServerOptions>): Promise<McpTools> {
  return opened.use(await openMcpTools({ name: "web", restartDelayMs: 10, ...options } as McpServerOptions, log));
}

function toolOf(source: McpTools, name: string): Tool {
  const tool = source.tools().find((item) => item.name === `web.${name}`);
  if (tool === undefined) throw new Error(`there is no tool ${name}`);
  return tool;
}

for (const legacy of [false, true]) {
  test(`offers and calls the tools of a server of the ${legacy ? "2025" : "2026"} protocol`, async () => {
    // A server of 2025 does not know server/discover.
    const { url } = await mcpHost((request, response) => {
      if (!legacy || request.headers["mcp-method"] === undefined) return false;
      response.writeHead(400).end();
      return true;
    });
    const source = await open({ url });
    expect(await resultOf(toolOf(source, "add"), { a: 1, b: 2 })).toEqual({ sum: 3 });
    expect(await resultOf(toolOf(source, "who"), {})).toMatch(/^http /);
  });
}

test("answers that come as a stream are read as well", async () => {
  const { url } = await mcpHost(undefined, { responseMode: "sse" });
  const source = await open({ url });
  expect(await resultOf(toolOf(source, "add"), { a: 1, b: 2 })).toEqual({ sum: 3 });
});

test("sends the headers it is given, and fails clearly without them", async () => {
  const { url } = await mcpHost((request, response) => {
    if (request.headers.authorization === "Bearer good") return false;
    response.writeHead(401).end("who are you?");
    return true;
  });
  const source = await open({ url, headers: { authorization: "Bearer good" } });
  expect(await resultOf(toolOf(source, "add"), { a: 1, b: 2 })).toEqual({ sum: 3 });
  const error = await toolErrorOf(open({ url, headers: { authorization: "Bearer bad" } }));
  expect(error).toMatchObject({ code: "MCP_UNAVAILABLE" });
  expect(error.message).not.toContain("Bearer");
});

test("a server that goes away in a call leaves it unknown; calls work again once it is back", async () => {
  const reached = Promise.withResolvers<void>();
  const { url, stop, start } = await mcpHost((request) => {
    if (request.headers["mcp-name"] === "hang") reached.resolve();
    return false;
  });
  const source = await open({ url, connectTimeoutMs: 4_000 });
  const hanging = errorOf(toolOf(source, "hang"), {});
  await reached.promise;
  stop();
  expect(await hanging).toMatchObject({ code: "MCP_CONNECTION_LOST", retryable: true, outcomeUnknown: true });
  const away = await errorOf(toolOf(source, "hang"), {});
  expect(away).toMatchObject({ code: "MCP_UNAVAILABLE", retryable: true, outcomeUnknown: false });
  await start();
  const add = toolOf(source, "add");
  const sum = await until(() => resultOf(add, { a: 1, b: 2 }).catch(() => undefined), {
    what: "the server again",
    timeoutMs: 20_000,
  });
  expect(sum).toEqual({ sum: 3 });
});

test("says whether a call that the server refused can be repeated", async () => {
  let status = 0;
  const { url } = await mcpHost((request, response) => {
    if (status === 0 || request.headers["mcp-method"] !== "tools/call") return false;
    response.writeHead(status).end("no");
    return true;
  });
  const source = await open({ url });
  const outcomes = [];
  for (status of [403, 429, 500]) {
    const { code, retryable, outcomeUnknown } = await errorOf(toolOf(source, "grow"), {});
    outcomes.push({ status, code, retryable, outcomeUnknown });
  }
  expect(outcomes).toEqual([
    { status: 403, code: "MCP_REFUSED", retryable: false, outcomeUnknown: false },
    { status: 429, code: "MCP_UNAVAILABLE", retryable: true, outcomeUnknown: false },
    { status: 500, code: "MCP_CONNECTION_LOST", retryable: true, outcomeUnknown: true },
  ]);
});

test("a message that is too large is broken off, as one body and as a stream", async () => {
  for (const responseMode of ["auto", "sse"] as const) {
    const { url } = await mcpHost(undefined, { responseMode });
    const source = await open({ url, maxMessageBytes: 200_000 });
    const error = await errorOf(toolOf(source, "huge"), { bytes: 5_000_000 });
    expect(error).toMatchObject({ code: "MCP_CONNECTION_LOST", outcomeUnknown: true });
    expect(await resultOf(toolOf(source, "add"), { a: 1, b: 2 })).toEqual({ sum: 3 });
  }
});

test("does not follow a redirect to another place", async () => {
  let asked = 0;
  const other = await host((_request, response) => {
    asked++;
    response.end();
  });
  const { url } = await host((_request, response) => response.writeHead(307, { location: other.url }).end());
  expect((await toolErrorOf(open({ url }))).code).toBe("MCP_UNAVAILABLE");
  expect(asked).toBe(0);
});

test("what is no MCP server is said not to be available", async () => {
  const { url } = await host((_request, response) => response.setHeader("content-type", "text/html").end("<p>Hello"));
  expect((await toolErrorOf(open({ url }))).code).toBe("MCP_UNAVAILABLE");
  expect((await toolErrorOf(open({ url: "http://127.0.0.1:1/" }))).code).toBe("MCP_UNAVAILABLE");
});

test("refuses a url that is none, or of another scheme", async () => {
  for (const url of ["mcp.example", "file:///etc/passwd", "ws://127.0.0.1/"]) {
    await expect(open({ url })).rejects.toThrow("must be an http or https one");
  }
});
