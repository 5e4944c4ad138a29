// A worker whose handler `report` has a large output and stores files. It kills itself right before its CompleteStep of the number that
// DIES_BEFORE names; empty for never. Started by run-artifacts.test.ts.

import { flushCompileCache } from "node:module";
import type { Transport } from "@connectrpc/connect";
import { createSignalboxClient } from "../../src/client/client.ts";
import { openNodeTransport } from "../../src/client/node-transport.ts";
import { createWorker, type Handler } from "../../src/engine/worker.ts";

const { SIGNALBOX_URL: baseUrl = "", SIGNALBOX_WORKSPACE: workspaceId, DIES_BEFORE: diesBefore } = process.env;

/** What is stored says which attempt it was that stored it. */
const report: Handler = async (ctx) => {
  const loaded = await ctx.step("load", () => ({ attempt: ctx.attempt, text: "ä".repeat(200 * 1024) }));
  const small = await ctx.artifact("report.txt", `attempt ${ctx.attempt}`);
  async function* rows() {
    for (let index = 0; index < 3_000; index++) yield Buffer.from(`${ctx.attempt} ${"x".repeat(1_000)}\n`);
  }
  const large = await ctx.artifact("rows.txt", () => rows(), { contentType: "text/plain" });
  return { loadedBy: loaded.attempt, length: loaded.text.length, files: [small.artifactId, large.artifactId] };
};

let completions = 0;

function mortal(transport: Transport): Transport {
  return {
    stream: (...call) => transport.stream(...call),
    unary(method, ...call) {
      if (method.name === "CompleteStep" && String(++completions) === diesBefore) process.kill(process.pid, "SIGKILL");
      return transport.unary(method, ...call);
    },
  };
}

// Who is killed writes no cache at its end.
flushCompileCache();
const client = createSignalboxClient({ transport: mortal(openNodeTransport({ baseUrl }).transport), workspaceId });
await createWorker({ client, handlers: { report }, concurrency: 1 }).run();
