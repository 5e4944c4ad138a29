import { expect, test } from "vitest";
import { RunStatus, type WakeCondition } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import type { Claim } from "./claims.ts";
import { allEvents } from "./concurrency.ts";
import { openHands } from "./hands.ts";
import { createRun } from "./runs.ts";
import { allEnded, atTime, startChild } from "./waiting.ts";

/** Runs that wait on timers, and as many on children. */
const half = Number(process.env["WAITING_RUNS"] ?? 500) / 2;
const timeoutMs = 30_000 + half * 100;

const numbers = (length: number) => Array.from({ length }, (_, n) => n);

/** How many runs of the workspace have this status. */
async function count(client: SignalboxClient, status: RunStatus, minPosition: bigint): Promise<number> {
  let found = 0;
  let pageToken = "";
  do {
    const page = await client.runs.listRuns({ statuses: [status], pageSize: 200, pageToken, minPosition });
    found += page.runs.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

test(
  `${half * 2} runs wait on timers and children without a worker, across a restart, and end when one connects`,
  async () => {
    await using installation = await openInstallation();
    const client = installation.client();
    // A worker that starts them, and goes before the time has come.
    async function start(handler: string, wait: (claim: Claim) => Promise<WakeCondition>): Promise<void> {
      await Promise.all(numbers(half).map(() => createRun(client, { handler })));
      const started = new Set<string>();
      await using _hands = openHands(client, {
        count: 16,
        handlers: [handler],
        async work(claimed) {
          const { leaseToken, run } = claimed;
          const { suspended } = await client.engine.suspendRun({ leaseToken, conditions: [await wait(claimed)] });
          expect(suspended).toBe(true);
          started.add(run.runId);
          return false;
        },
      });
      await until(() => started.size === half, { what: `every ${handler} to wait`, timeoutMs });
    }
    const startMs = Date.now();
    await start("parent", async ({ run, leaseToken }) =>
      allEnded(await startChild(client, { runId: run.runId, leaseToken }, "child")),
    );
    // Sleepers are begun faster than parents: when their time comes, all of them sleep.
    const wakeMs = Date.now() + 1_000 + 2 * (Date.now() - startMs);
    await start("sleeper", async () => atTime(wakeMs));
    const { position } = await client.runs.createRun({ handler: "nobody", queue: "elsewhere" });
    expect(await count(client, RunStatus.WAITING, position)).toBe(2 * half);
    await installation.servers[0]?.stop();
    await installation.servers[0]?.start();
    const before = process.memoryUsage().heapUsed;
    await until(() => Date.now() > wakeMs, { what: "the time to come", timeoutMs });
    await until(async () => (await count(client, RunStatus.WAITING, position)) === half, {
      what: "all sleepers to be awake",
      timeoutMs,
      intervalMs: 100,
    });
    // Nobody has taken them: the parents still wait, and all else is queued.
    expect(await count(client, RunStatus.QUEUED, position)).toBe(2 * half + 1);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024 + half * 20_000);

    await using _hands = openHands(client, { count: 16, handlers: ["sleeper", "parent", "child"] });
    await until(async () => (await count(client, RunStatus.SUCCEEDED, position)) === 3 * half, {
      what: "all to end",
      timeoutMs,
      intervalMs: 100,
    });
    const last = await client.runs.createRun({ handler: "nobody", queue: "elsewhere" });
    const types = Map.groupBy(await allEvents(client, last.position), ({ type }) => type);
    expect([types.get("run.woken")?.length, types.get("run.child_ended")?.length]).toEqual([half, half]);
  },
  2 * timeoutMs,
);
