import { afterAll, expect, test } from "vitest";
import { jsonValue, RunStatus, type SignalboxClient, valueToJson, WorkerStatus } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { openLine } from "./line.ts";
import { createRun, ended } from "./runs.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

/** The number of calls of a method that the servers have answered, as their metrics tell. */
async function answered(method: string): Promise<number> {
  const text = await (await fetch(`${installation.url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("signalbox_rpc_requests_total{"));
  return lines
    .filter((line) => line.includes(`/${method}"`) && line.includes('code="ok"'))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function openStreams(): Promise<number> {
  const text = await (await fetch(`${installation.url}/metrics`)).text();
  return Number(/signalbox_rpc_open_streams\{[^}]*Work"\} (\d+)/.exec(text)?.[1] ?? 0);
}

async function listed(client: SignalboxClient, workerId: string) {
  const { workers } = await client.engine.listWorkers({});
  return workers.find((worker) => worker.workerId === workerId);
}

test("a worker over a stream runs the built-in handlers", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  const worker = installation.worker({ workspaceId, transport: "stream", concurrency: 8 });
  const before = await answered("ClaimRun");
  const runs = [
    ...Array.from({ length: 20 }, (_, n) => ({ handler: "echo", input: jsonValue({ n }) })),
    { handler: "steps", input: jsonValue({ count: 20 }) },
    { handler: "sleep", input: jsonValue({ ms: 20 }) },
    { handler: "flaky", input: jsonValue({ failures: 1 }) },
  ];
  const ids = await Promise.all(runs.map((run) => createRun(client, run)));
  const done = await Promise.all(ids.map((runId) => ended(client, runId)));
  expect(new Set(done.map(({ status }) => status))).toEqual(new Set([RunStatus.SUCCEEDED]));
  expect(valueToJson(done[3]?.output)).toEqual({ n: 3 });
  expect(await openStreams()).toBe(1);
  // What comes on a stream is counted by its own name.
  expect(await answered("ClaimRun")).toBeGreaterThanOrEqual(before + runs.length);
  await worker[Symbol.asyncDispose]();
  await until(async () => (await openStreams()) === 0, { what: "the stream to end" });
});

test.each(["unary", "stream"] as const)(
  "a worker shows in ListWorkers while it works and drains (%s)",
  async (transport) => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const gate = Promise.withResolvers<void>();
    const worker = installation.worker({
      workspaceId,
      transport,
      workerId: `w-${transport}`,
      version: "1.2.3",
      concurrency: 3,
      queues: ["default", "slow"],
      handlers: { wait: () => gate.promise },
    });
    const seen = () => listed(client, worker.workerId);
    await until(seen, { what: "the worker to show" });
    const runId = await createRun(client, { handler: "wait" });
    const busy = await until(async () => (await seen())?.busy === 1 && (await seen()), { what: "it to be busy" });
    expect(busy).toMatchObject({
      status: WorkerStatus.ACTIVE,
      version: "1.2.3",
      pid: process.pid,
      concurrency: 3,
      queues: ["default", "slow"],
      handlers: ["wait"],
      runIds: [runId],
    });
    const stopping = worker[Symbol.asyncDispose]();
    await until(async () => (await seen())?.status === WorkerStatus.DRAINING, { what: "it to drain" });
    gate.resolve();
    await stopping;
    expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED });
  },
);

test("a worker over a stream outlasts a restart of the server, and nothing is lost", { timeout: 60_000 }, async () => {
  await using own = await openInstallation();
  const client = own.client();
  own.worker({ transport: "stream", concurrency: 4 });
  const server = own.servers[0]!;
  const first = await createRun(client, { handler: "steps", input: jsonValue({ count: 200 }) });
  await until(async () => (await client.runs.getRun({ runId: first })).run?.status === RunStatus.RUNNING, {
    what: "the run to be at work",
  });
  await server.stop();
  await server.start();
  expect(await ended(client, first)).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 1 });
  const second = await createRun(client, { handler: "echo" });
  expect(await ended(client, second)).toMatchObject({ status: RunStatus.SUCCEEDED });
});

test("whatever is under way when the connection breaks is written once, and no lease is lost", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  await using line = await openLine(installation.url);
  const worker = installation.worker({ workspaceId, transport: "stream", baseUrl: line.url });
  const count = 150;
  const ids = await Promise.all(
    [1, 2, 3].map(() => createRun(client, { handler: "steps", input: jsonValue({ count }) })),
  );
  const written = async () => Number((await client.runs.getRun({ runId: ids[0] ?? "" })).run?.usage?.steps ?? 0);
  for (let cuts = 0; cuts < 8; cuts++) {
    const before = await written();
    await until(async () => (await written()) > Math.min(before + 5, count - 1), { what: "some work" });
    line.cut();
  }
  for (const runId of ids) {
    const run = await ended(client, runId);
    expect(run).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 1 });
    const types: string[] = [];
    for (let afterPosition = 0n; ;) {
      const page = await client.events.listEvents({ filter: { runId }, afterPosition, pageSize: 200 });
      if (page.events.length === 0) break;
      types.push(...page.events.map(({ type }) => type));
      afterPosition = page.nextPosition;
    }
    expect(types).toHaveLength(2 * count + 3);
  }
  await worker[Symbol.asyncDispose]();
});

test("with HTTP/1.1 a worker that wants a stream goes on with single calls", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  const h1 = installation.client({ workspaceId, httpVersion: "1.1" });
  installation.worker({ client: h1, transport: "stream" });
  const runId = await createRun(client, { handler: "steps", input: jsonValue({ count: 3 }) });
  expect(await ended(client, runId)).toMatchObject({ status: RunStatus.SUCCEEDED });
});
