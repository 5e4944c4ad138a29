import { access, constants, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium, type Page } from "playwright-core";
import { afterAll, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { linkTo, sha256, stored } from "./files.ts";
import { approvalOf, askByCall, mailOf } from "./people.ts";

const opened = new AsyncDisposableStack();
afterAll(() => opened.disposeAsync());
const scripts = {
  page: await bundle(new URL("page/page.ts", import.meta.url)),
  inbox: await bundle(new URL("page/inbox.ts", import.meta.url)),
  files: await bundle(new URL("page/files.ts", import.meta.url)),
  link: await bundle(new URL("page/link.ts", import.meta.url)),
};
const { port } = opened.use(await openPageServer(scripts));
// One page, two origins: the name and the address of this machine are not the same to a browser.
const [allowedOrigin, otherOrigin] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
const installation = opened.use(await openInstallation({ allowedOrigins: [allowedOrigin] }));
const browser = opened.use(await openBrowser());

test("a page of an allowed origin starts a run and follows its subscription in Chromium", async () => {
  const client = installation.client();
  const page = await openPage(allowedOrigin);
  await page.locator(".event").first().waitFor();
  // What comes from here on comes live: the page is subscribed already.
  const { run, leaseToken } = await claim(client, "by_hand");
  expect(await page.locator("#run").textContent()).toBe(run.runId);
  const { step } = await client.engine.startStep({ leaseToken, key: "look" });
  await page.locator(".event", { hasText: "step.started" }).waitFor();
  await client.engine.completeStep({ leaseToken, stepId: step?.stepId ?? "" });
  await client.engine.completeRun({ leaseToken, output: jsonValue("all clear") });
  await page.locator("#end").waitFor();
  expect(await page.locator(".event").allTextContents()).toEqual([
    "1 run.created",
    "2 run.claimed",
    "3 step.started",
    "4 step.completed",
    "5 run.succeeded",
  ]);
  expect(await page.locator("#end").textContent()).toBe('"all clear"');
  expect(await page.locator("#error").count()).toBe(0);
});

test("a page shows what people are asked, live, and approves exactly that in Alice's name", async () => {
  const client = installation.client({ workspaceId: "ws_inbox" });
  const page = await openPage(allowedOrigin, "inbox");
  await page.locator("#ready").waitFor();
  const { claimed, approval } = await askByCall(client, mailOf("hello"));
  await page.locator(".approval", { hasText: "hello" }).waitFor();
  await page.locator("#approve").click();
  await page.locator("#decided").waitFor();
  expect(await page.locator("#error").count()).toBe(0);
  const { toolCall } = await client.engine.startToolCall({ leaseToken: claimed.leaseToken, ...mailOf("hello") });
  expect(toolCall).toMatchObject({ approvalId: approval.approvalId, arguments: approval.payload });
  const { decisions } = await approvalOf(client, approval.approvalId);
  expect(decisions).toMatchObject([{ decideBy: { type: PrincipalType.USER, id: "alice" } }]);
});

test("a page stores a file in chunks, and reads it back as a stream, by a link, and a part of it", async () => {
  const page = await openPage(allowedOrigin, "files");
  await page.locator("#link, #error").waitFor();
  expect(await page.locator("#error").allTextContents()).toEqual([]);
  const bytes = Uint8Array.from({ length: 2_500_000 }, (_, index) => (index * index) % 251);
  const sum = sha256(bytes);
  const client = installation.client({ workspaceId: "ws_files" });
  const artifactId = (await page.locator("#stored").textContent()) ?? "";
  const { artifact } = await client.artifacts.getArtifact({ artifactId });
  expect(artifact).toMatchObject({ name: "grüße.bin", contentType: "text/html", sha256: sum });
  for (const way of ["#downloaded", "#linked"]) expect(await page.locator(way).textContent()).toBe(sum);
  expect(await page.locator("#type").textContent()).toBe("application/octet-stream");
  expect(await page.locator("#part").textContent()).toBe("206 bytes 2400000-2499999/2500000 100000");
});

test("a link is saved from whatever page it stands on, and read by the scripts of allowed ones only", async () => {
  const client = installation.client({ workspaceId: "ws_files" });
  const script = Buffer.from("<script>document.title = 'run'</script>");
  const { artifactId } = await stored(client, script, { name: "page.html", contentType: "text/html" });
  const { url } = await linkTo(client, artifactId);
  const page = await openPage(otherOrigin, "link", url);
  await page.locator("#error").waitFor();
  expect(await page.locator("#read").count()).toBe(0);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#save").click()]);
  expect(download.suggestedFilename()).toBe("page.html");
  expect(await readFile(await download.path())).toEqual(script);
  expect(await page.title()).toBe("Signalbox");
});

test("a page of another origin is refused by the browser, and nothing is recorded", async () => {
  const client = installation.client();
  const { position: afterPosition } = await client.runs.createRun({ handler: "nobody" });
  const page = await openPage(otherOrigin);
  await page.locator("#error").waitFor();
  expect(await page.locator("#run").count()).toBe(0);
  const { position: minPosition } = await client.runs.createRun({ handler: "nobody" });
  const { events } = await client.events.listEvents({ afterPosition, minPosition });
  expect(events.map(({ position }) => position)).toEqual([minPosition]);
});

async function openPage(origin: string, script = "page", link = ""): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${origin}/${script}?${new URLSearchParams({ server: installation.url, link }).toString()}`);
  return page;
}

async function bundle(script: URL): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(script)],
    bundle: true,
    format: "esm",
    write: false,
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}

/** Serves a page for each script: `/page` runs `/page.js`. */
async function openPageServer(bundles: Readonly<Record<string, string>>) {
  const server = createServer((request, response) => {
    const [, name = "", extension] = /^\/(\w*)(\.js)?/.exec(request.url ?? "") ?? [];
    response.setHeader("content-type", extension ? "text/javascript" : "text/html");
    const html = `<!doctype html><title>Signalbox</title><script type="module" src="/${name}.js"></script>`;
    response.end(extension ? bundles[name] : html);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function openBrowser() {
  return chromium.launch({
    executablePath: await findChromium(),
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ],
  });
}

/** The first Chromium on PATH. Throws an error that says how to get one. */
async function findChromium(): Promise<string> {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      const file = join(folder, name);
      if (await isExecutable(file)) return file;
    }
  }
  throw new Error(
    "this test drives a real Chromium, and there is none on PATH: install it with `apt-get install chromium`, " +
      "`brew install --cask chromium`, or whatever your system has",
  );
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
