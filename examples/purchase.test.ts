import { jsonValue, RunStatus } from "signalbox/client";
import { openTestSignalbox, recordRun, replayRun } from "signalbox/testing";
import { expect, test } from "vitest";
import { purchase } from "./purchase.ts";

const shop = {
  price: (seller: string) => Promise.resolve(seller === "Ada" ? 12 : 15),
  order: (_key: string, seller: string) => Promise.resolve(`${seller}-1`),
};

test("orders from the seller that was chosen, a day later, once somebody has approved the order", async () => {
  const handlers = { purchase: purchase(shop) };
  await using signalbox = await openTestSignalbox({ handlers });
  const request = { handler: "purchase", input: { item: "tea", sellers: ["Ada", "Bob"] } };
  const { run } = await signalbox.run(request);
  expect(run.status).toBe(RunStatus.WAITING);

  const begin = signalbox.now();
  await signalbox.client.runs.sendMessage({ runId: run.runId, content: jsonValue("Ada") });
  await signalbox.resume(run.runId);
  await signalbox.approve();
  const { output } = await signalbox.resume(run.runId);
  expect(output).toEqual({ seller: "Ada", price: 12, order: "Ada-1" });
  expect(signalbox.now().getTime() - begin.getTime()).toBe(24 * 3_600_000);

  // Kept in a file, this recording tells later whether new code still fits the runs that are under way.
  const recording = await recordRun(signalbox.client, run.runId);
  await replayRun(recording, { handlers });
});
