// A worker whose handler `block` keeps the event loop to itself. Started by blocked.test.ts, told what to do by its input.

import { createWorker } from "../../src/engine/worker.ts";

const { SIGNALBOX_URL: baseUrl = "", SIGNALBOX_WORKSPACE: workspaceId, MAX_BLOCKED_MS: maxBlockedMs } = process.env;
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const worker = createWorker({
  baseUrl,
  workspaceId,
  workerId: "blocking",
  // With more, it would have asked for further runs, and be given back the one that it has lost.
  concurrency: 1,
  maxBlockedMs: maxBlockedMs === undefined ? undefined : Number(maxBlockedMs),
  handlers: {
    block: async (ctx, input) => {
      await ctx.step("before", () => 1);
      const untilMs = performance.now() + Number(input);
      while (performance.now() < untilMs);
      say({ event: "unblocked" });
      try {
        await ctx.step("after", () => 2);
      } finally {
        const { reason } = ctx.signal as { reason?: { why?: string } };
        say({ event: "written", why: reason?.why ?? "nothing stopped it" });
      }
      return "done";
    },
    // Long enough for the heartbeat thread to have started.
    quick: (ctx) => ctx.step("pause", () => new Promise<void>((resolve) => void setTimeout(resolve, 1_000))),
  },
});
await worker.run(stop.signal);
await worker[Symbol.asyncDispose]();
