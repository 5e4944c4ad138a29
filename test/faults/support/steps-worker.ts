// A worker with the handler `steps200`: 200 steps, half of them side by side, each of which writes a line when its code runs.
// Runs until it is killed.
import { appendFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { createWorker, type HandlerContext } from "../../../src/engine/worker.ts";

const { SIGNALBOX_URL: baseUrl = "", SIGNALBOX_WORKSPACE: workspaceId, EXECUTIONS_FILE: file = "" } = process.env;

/** What the step returns depends on its name and on what the handler was told before. */
function step(ctx: HandlerContext, name: string, before: number): Promise<number> {
  return ctx.step(name, async ({ key }) => {
    const line = { runId: ctx.currentRun.runId, key, startMs: Date.now(), pid: process.pid };
    appendFileSync(file, `${JSON.stringify(line)}\n`);
    await pause(before % 4);
    return (before * 31 + name.length * 17 + Number(name.replaceAll(/\D/g, ""))) % 1_000_003;
  });
}

await createWorker({
  baseUrl,
  workspaceId,
  handlers: {
    steps200: async (ctx) => {
      let told = 7;
      const order: number[] = [];
      for (let round = 0; round < 20; round++) {
        for (let number = 0; number < 5; number++) told = await step(ctx, `alone-${round}-${number}`, told);
        const names = Array.from({ length: 5 }, (_, number) => `beside-${round}-${number}`);
        const before = told;
        const results = await Promise.all(names.map((name, number) => step(ctx, name, before + number)));
        told = results.reduce((sum, result) => (sum + result) % 1_000_003);
        order.push(told, Math.floor(ctx.random() * 1_000));
      }
      return { told, order: order.filter((_, index) => index % 2 === 0) };
    },
  },
}).run();
