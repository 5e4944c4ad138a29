import { expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { allProjections } from "../../src/cli/serve.ts";
import { openStores } from "../../src/cli/stores.ts";
import { isTransient, jsonValue } from "../../src/client/client.ts";
import { verify } from "../../src/readmodel/verify.ts";
import { openInstallation } from "../support/installation.ts";
import { openNatsCluster } from "../support/nats-cluster.ts";
import { until } from "../support/until.ts";

const runCount = 300;

/** The answer to a call, repeated while nobody can give one: the cluster elects its leaders anew after each kill. */
function answered<T extends object>(what: string, call: () => Promise<T>) {
  const attempt = () =>
    call().catch((error: unknown): undefined => {
      if (!isTransient(error)) throw error;
    });
  return until(attempt, { what, timeoutMs: 40_000, intervalMs: 50 });
}

test("three replicas: two nodes killed one after the other under load lose nothing that was acknowledged", async () => {
  await using cluster = await openNatsCluster();
  const replicated = { natsUrl: cluster.url, replicas: 3 };
  await using installation = await openInstallation({ ...replicated, workers: 1, leaseTtlMs: 3_000 });
  const client = installation.client();
  const created = new Map<string, string>();

  async function createAll(first: number): Promise<void> {
    for (let index = first; index < runCount; index += 8) {
      const request = { requestId: `run-${index}`, handler: "echo", input: jsonValue(index) };
      // An answer that was lost is asked for again: the request_id makes that harmless.
      const { run } = await answered(`run ${index} to be created`, () => client.runs.createRun(request));
      created.set(request.requestId, run?.runId ?? "");
    }
  }

  const load = Promise.all(Array.from({ length: 8 }, (_, first) => createAll(first)));
  for (const [index, node] of cluster.nodes.slice(0, 2).entries()) {
    const share = (index + 1) * 50;
    await until(() => created.size >= share, { what: `${share} runs`, timeoutMs: 30_000 });
    await node.kill();
    await until(() => created.size >= share + 40, { what: "runs on two nodes", timeoutMs: 30_000 });
    await node.start();
  }
  await load;

  expect(new Set(created.values()).size).toBe(runCount);
  for (const runId of created.values()) {
    const { run } = await answered(`${runId} to end`, () => client.runs.waitRun({ runId, timeout: { seconds: 20n } }));
    expect(run?.status).toBe(RunStatus.SUCCEEDED);
  }
  const { databaseUrl, prefix, schema, logger: log } = installation.backend;
  await using stores = await openStores({ ...replicated, databaseUrl, prefix, schema, log });
  const report = await verify({ ...stores, projections: allProjections });
  expect(report).toMatchObject({ differences: [], complete: true });
  expect(report.events).toBeGreaterThanOrEqual(runCount * 3);
}, 120_000);
