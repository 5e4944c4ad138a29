import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { type Network, publicNetwork } from "../../../src/tools/packs/egress.ts";
import { type HttpOptions, httpPack } from "../../../src/tools/packs/http.ts";
import type { Tool } from "../../../src/tools/tool.ts";
import { errorOf, resultOf, scopeOf, textWith, toolErrorOf, toolOf } from "../calling.ts";
import { certificate, privateKey } from "./certificate.ts";

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of cleanup.splice(0)) await close();
});

/** Listens on loopback; returns the port. */
async function listen(listener: RequestListener, host = "127.0.0.1", port = 0): Promise<number> {
  return start(createServer(listener), host, port);
}

async function start(server: Server, host = "127.0.0.1", port = 0): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, host, resolve);
  await promise;
  cleanup.push(() => {
    if ("closeAllConnections" in server) (server.closeAllConnections as () => void)();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A network in which every name is this machine, and this machine may be called. */
function loopback(resolve: Network["resolve"] = async () => ["127.0.0.1"]): Network {
  return { resolve, isAllowed: (address) => address.startsWith("127.") };
}

function fetchTool(options: HttpOptions, network: Network = loopback()): Tool {
  return toolOf(httpPack(options, network), "http.fetch");
}

test("fetches a page of a host that is allowed", async () => {
  const port = await listen((request, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.setHeader("etag", '"1"');
    response.setHeader("set-cookie", "a=b");
    response.end(`${request.method} ${request.url} ${request.headers.host} ${request.headers["accept-language"]}`);
  });
  const tool = fetchTool({ allowHosts: [`http://site.test:${port}`] });
  const url = `http://site.test:${port}/a?b=c#d`;
  expect(await resultOf(tool, { url, headers: { "accept-language": "de" } })).toEqual({
    url,
    status: 200,
    headers: { "content-type": "text/html; charset=utf-8", date: textWith("GMT"), etag: '"1"' },
    body: `GET /a?b=c site.test:${port} de`,
    truncated: false,
  });
  const head = await resultOf(tool, { url, method: "HEAD" });
  expect(head).toMatchObject({ status: 200, body: "" });
});

test("a status that says no is an answer too", async () => {
  const port = await listen((_request, response) => response.writeHead(404).end());
  const tool = fetchTool({ allowHosts: [`http://*:${port}`] });
  expect(await resultOf(tool, { url: `http://site.test:${port}/` })).toMatchObject({ status: 404, body: "" });
});

test("denies everything unless hosts are allowed, before it resolves a name", async () => {
  const network = loopback(() => Promise.reject(new Error("asked")));
  const url = "https://site.test/";
  expect(await errorOf(fetchTool({}, network), { url })).toMatchObject({
    code: "EGRESS_DENIED",
    retryable: false,
    message:
      "site.test may not be called: no host is allowed yet. The operator of the worker lists hosts in allowHosts",
  });
  const tool = fetchTool({ allowHosts: ["site.test", "*.deep.test"] }, network);
  for (const other of [
    "https://other.test/",
    "https://site.test.evil.test/",
    "https://evilsite.test/",
    "https://site.test./",
    "https://deep.test/",
    "https://evildeep.test/",
    "https://site.test:8443/",
    "http://site.test/",
    "http://site.test:443/",
    "https://user:password@site.test/",
    "https://site.test@other.test/",
    "ftp://site.test/",
    "file:///etc/passwd",
    "data:text/plain,x",
    "javascript:1",
  ]) {
    expect([other, (await errorOf(tool, { url: other })).code]).toEqual([other, "EGRESS_DENIED"]);
  }
});

const insideUrls = [
  "https://127.0.0.1/",
  "https://2130706433/",
  "https://0x7f000001/",
  "https://0x7f.1/",
  "https://0177.0.0.1/",
  "https://127.1/",
  "https://127.0.0.1./",
  "https://１２７.0.0.1/",
  "https://[::1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[64:ff9b::7f00:1]/",
  "https://[0:0:0:0:0:0:0:1]/",
  "https://169.254.169.254/latest/meta-data",
  "https://0/",
  "https://localhost/",
];
for (const url of insideUrls) {
  test(`denies ${url} though every host is allowed`, async () => {
    expect(await errorOf(fetchTool({ allowHosts: ["*"] }, publicNetwork), { url })).toMatchObject({
      code: "EGRESS_DENIED",
    });
  });
}

test("denies a public address that is written so that it does not look like one", async () => {
  // Nobody may be called, so that a defect here calls nobody either.
  const network: Network = { ...publicNetwork, isAllowed: () => false };
  const error = await errorOf(fetchTool({ allowHosts: ["*"] }, network), { url: "https://0x08080808/" });
  expect(error.message).toBe("an IP address is only taken in its usual notation");
});

test("denies a name that resolves to an address inside, whatever else it resolves to", async () => {
  for (const address of ["10.0.0.1", "::ffff:10.0.0.1", "100.64.0.1", "fe80::1"]) {
    // Loopback stands for the public address.
    const network: Network = { resolve: async () => ["127.0.0.1", address], isAllowed: (one) => one === "127.0.0.1" };
    const error = await errorOf(fetchTool({ allowHosts: ["*"] }, network), { url: "https://site.test/" });
    expect(error).toMatchObject({ code: "EGRESS_DENIED", message: "site.test does not have a public address" });
  }
});

test("connects to the address that was checked, though the name has another one by then", async () => {
  const port = await listen((_request, response) => response.end("checked"));
  await listen((_request, response) => response.end("rebound"), "127.0.0.2", port);
  const answers = [["127.0.0.1"], ["127.0.0.2"]];
  let asked = 0;
  const network = loopback(async () => answers[asked++] ?? []);
  const tool = fetchTool({ allowHosts: [`http://rebinding.test:${port}`] }, network);
  expect(await resultOf(tool, { url: `http://rebinding.test:${port}/` })).toMatchObject({
    bodyBase64: btoa("checked"),
  });
  expect(asked).toBe(1);
});

test("goes on to the next address when the first does not answer", async () => {
  const port = await listen((_request, response) => response.end("x"), "127.0.0.2");
  const tool = fetchTool(
    { allowHosts: [`http://*:${port}`] },
    loopback(async () => ["127.0.0.1", "127.0.0.2"]),
  );
  expect(await resultOf(tool, { url: `http://site.test:${port}/` })).toMatchObject({ status: 200 });
});

test("follows redirects to hosts that are allowed, each checked anew", async () => {
  const port = await listen((request, response) => {
    if (request.url === "/b") return response.writeHead(302, { location: "c?d" }).end();
    if (request.url === "/c?d") return response.setHeader("content-type", "text/plain").end(request.headers.host);
    return response.writeHead(301, { location: `//other.test:${port}/b` }).end("moved");
  });
  const names: string[] = [];
  const network = loopback(async (hostname) => {
    names.push(hostname);
    return ["127.0.0.1"];
  });
  const tool = fetchTool({ allowHosts: [`http://site.test:${port}`, `http://other.test:${port}`] }, network);
  expect(await resultOf(tool, { url: `http://site.test:${port}/` })).toMatchObject({
    url: `http://other.test:${port}/c?d`,
    body: `other.test:${port}`,
  });
  expect(names).toEqual(["site.test", "other.test", "other.test"]);
});

test("follows no redirect to an address inside, to a host that is not allowed, to another scheme, nor without end", async () => {
  let location = "";
  let inside = 0;
  const port = await listen((request, response) => {
    if (request.headers.host?.startsWith("127.")) inside++;
    response.writeHead(302, { location }).end();
  });
  const network: Network = { resolve: async () => ["127.0.0.1"], isAllowed: (address) => address === "127.0.0.1" };
  const strict: Network = { resolve: async () => ["127.0.0.9"], isAllowed: (address) => address === "127.0.0.9" };
  const url = `http://site.test:${port}/`;
  const tool = fetchTool({ allowHosts: [`http://site.test:${port}`, "http://127.0.0.1"] }, network);
  for (location of [
    `http://127.0.0.1:${port}/`,
    "http://0x7f.1/",
    "https://169.254.169.254/",
    "http://other.test/",
    "file:///etc/passwd",
    "gopher://site.test/",
  ]) {
    expect([location, (await errorOf(tool, { url })).code]).toEqual([location, "EGRESS_DENIED"]);
  }
  // Allowed by name and yet not by address.
  const literal = fetchTool({ allowHosts: [`http://*:${port}`] }, strict);
  expect((await errorOf(literal, { url: `http://127.0.0.1:${port}/` })).code).toBe("EGRESS_DENIED");
  expect(inside).toBe(0);
  location = url;
  expect(await errorOf(tool, { url })).toMatchObject({
    code: "FETCH_FAILED",
    message: `${url} redirects more than 5 times`,
  });
  location = "http://[";
  expect(await errorOf(tool, { url })).toMatchObject({ code: "TOOL_ARGUMENTS_INVALID" });
});

test("speaks TLS with the name of the URL, whatever the address; and goes back to http for nobody", async () => {
  const before = getCACertificates("default");
  cleanup.push(() => setDefaultCACertificates(before));
  setDefaultCACertificates([...before, certificate]);
  const answer: { location?: string } = {};
  const server = createTlsServer({ cert: certificate, key: privateKey }, (_request, response) => {
    response.setHeader("content-type", "application/json");
    if (answer.location === undefined) response.end('{"ok":true}');
    else response.writeHead(302, answer).end();
  });
  const port = await start(server);
  const tool = fetchTool({ allowHosts: [`*:${port}`, "http://site.test"] });
  expect(await resultOf(tool, { url: `https://site.test:${port}/` })).toMatchObject({ body: '{"ok":true}' });
  const other = await errorOf(tool, { url: `https://other.test:${port}/` });
  expect(other).toMatchObject({ code: "FETCH_FAILED" });
  expect(other.message).toContain("altnames");
  answer.location = "http://site.test/";
  expect(await errorOf(tool, { url: `https://site.test:${port}/` })).toMatchObject({
    code: "EGRESS_DENIED",
    message: textWith("from https to http"),
  });
});

test("cuts off a body that is too large", async () => {
  const port = await listen((_request, response) => {
    response.setHeader("content-type", "text/plain");
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(10_000)));
    };
    response.on("drain", more);
    more();
  });
  const tool = fetchTool({ allowHosts: [`http://*:${port}`], maxBodyBytes: 25_000 });
  const result = await resultOf(tool, { url: `http://site.test:${port}/` });
  expect(result).toMatchObject({ truncated: true, body: "x".repeat(25_000) });
});

test("unpacks a body no further than it may be large", async () => {
  const bombs: Record<string, Buffer> = {
    gzip: gzipSync(Buffer.alloc(200_000_000)),
    br: brotliCompressSync(Buffer.alloc(50_000_000)),
  };
  const port = await listen((request, response) => {
    const encoding = (request.url ?? "").slice(1);
    response.writeHead(200, { "content-type": "text/plain", "content-encoding": encoding });
    response.end(bombs[encoding] ?? gzipSync("text"));
  });
  const tool = fetchTool({ allowHosts: [`http://*:${port}`], maxBodyBytes: 1_000 });
  const before = process.memoryUsage().rss;
  for (const encoding of ["gzip", "br"]) {
    const result = await resultOf(tool, { url: `http://site.test:${port}/${encoding}` });
    expect(result).toMatchObject({ truncated: true, body: "\u0000".repeat(1_000) });
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(50_000_000);
  const error = await errorOf(tool, { url: `http://site.test:${port}/gzip,gzip` });
  expect(error).toMatchObject({ code: "FETCH_FAILED" });
  bombs["br"] = Buffer.from("this is not what it says");
  expect((await errorOf(tool, { url: `http://site.test:${port}/br` })).code).toBe("FETCH_FAILED");
});

test("gives up on a server that drips, one that says nothing, and a name that does not resolve", async () => {
  const port = await listen((request, response) => {
    if (request.url === "/silent") return;
    response.writeHead(200, { "content-type": "text/plain" });
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  });
  const options = { allowHosts: [`http://*:${port}`], timeoutMs: 250 };
  for (const path of ["drip", "silent"]) {
    const error = await errorOf(fetchTool(options), { url: `http://site.test:${port}/${path}` });
    expect(error).toMatchObject({ code: "TOOL_TIMEOUT", retryable: true, outcomeUnknown: false });
  }
  const network = loopback(() => new Promise(() => {}));
  expect((await errorOf(fetchTool(options, network), { url: `http://site.test:${port}/` })).code).toBe("TOOL_TIMEOUT");
});

test("ends with the run", async () => {
  const reached = Promise.withResolvers<void>();
  const port = await listen(() => reached.resolve());
  const stop = new AbortController();
  const scope = scopeOf({ signal: stop.signal });
  const running = resultOf(
    fetchTool({ allowHosts: [`http://*:${port}`] }),
    { url: `http://site.test:${port}/` },
    scope,
  );
  await reached.promise;
  const reason = new Error("stopped");
  stop.abort(reason);
  await expect(running).rejects.toBe(reason);
});

test("an answer that is cut off, nonsense, or has headers without end can be tried again", async () => {
  const port = await listen((request, response) => {
    if (request.url === "/cut") {
      response.writeHead(200, { "content-length": "100" });
      response.write("half", () => response.destroy());
    } else if (request.url === "/headers") {
      response.writeHead(200, { x: "y".repeat(20_000) }).end();
    } else {
      request.socket.end("SSH-2.0-server\r\n");
    }
  });
  const tool = fetchTool({ allowHosts: [`http://*:${port}`] });
  for (const path of ["cut", "headers", "nonsense"]) {
    const error = await errorOf(tool, { url: `http://site.test:${port}/${path}` });
    expect([path, error.code, error.retryable]).toEqual([path, "FETCH_FAILED", true]);
  }
});

test("reads text in its character set and leaves bytes as they are", async () => {
  const port = await listen((request, response) => {
    const type = decodeURIComponent((request.url ?? "").slice(1));
    response.setHeader("content-type", type).end(Buffer.from([0xe4, 0x41]));
  });
  const tool = fetchTool({ allowHosts: [`http://*:${port}`] });
  const fetched = (type: string) => resultOf(tool, { url: `http://site.test:${port}/${encodeURIComponent(type)}` });
  expect(await fetched("text/plain; charset=ISO-8859-1")).toMatchObject({ body: "äA" });
  expect(await fetched("text/plain; charset=nonsense")).toMatchObject({ body: "\ufffdA" });
  expect(await fetched("application/vnd.api+json")).toMatchObject({ body: "\ufffdA" });
  expect(await fetched("image/png")).toMatchObject({ bodyBase64: "5EE=" });
});

const badArguments: [string, object][] = [
  ["another method", { method: "POST" }],
  ["a header that is not on the list", { headers: { authorization: "x" } }],
  ["the header host", { headers: { host: "127.0.0.1" } }],
  ["a header with a line break", { headers: { accept: "a\r\nhost: b" } }],
  ["__proto__ among the headers", { headers: JSON.parse('{"__proto__": "x"}') as object }],
  ["no URL", { url: "" }],
  ["what only code may give", { network: { isAllowed: true } }],
  ["a URL that is an object", { url: { href: "https://site.test/" } }],
];
for (const [what, args] of badArguments) {
  test(`does not take ${what}`, async () => {
    const tool = fetchTool({ allowHosts: ["*"] });
    expect((await errorOf(tool, { url: "https://site.test/", ...args })).code).toBe("TOOL_ARGUMENTS_INVALID");
  });
}

test("what is no URL is said to be none", async () => {
  expect(await errorOf(fetchTool({ allowHosts: ["*"] }), { url: "site.test" })).toMatchObject({
    code: "TOOL_ARGUMENTS_INVALID",
    message: '"site.test" is no URL',
  });
});

test("refuses to be set up with a host that is none", () => {
  expect(() => httpPack({ allowHosts: ["a b"] })).toThrow(TypeError);
});

test("a server that is not there can be tried again", async () => {
  const tool = fetchTool({ allowHosts: ["http://*:1"] });
  const error = await toolErrorOf(resultOf(tool, { url: "http://site.test:1/" }));
  expect(error).toMatchObject({ code: "FETCH_FAILED", retryable: true });
});
