// A worker whose handler `hoard` allocates until the process is out of memory. Started by out-of-memory.test.ts.

import { createWorker } from "../../src/engine/worker.ts";

const { SIGNALBOX_URL: baseUrl = "", SIGNALBOX_WORKSPACE: workspaceId } = process.env;
const hoarded: number[][] = [];

const worker = createWorker({
  baseUrl,
  workspaceId,
  workerId: "greedy",
  concurrency: 1,
  handlers: {
    hoard: async (ctx) => {
      await ctx.step("before", () => 1);
      for (;;) hoarded.push(Array.from({ length: 1_000_000 }, (_, index) => index));
    },
  },
});
await worker.run();
