import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, expect, test } from "vitest";
import { PrincipalSchema } from "../../gen/signalbox/v1/common_pb.ts";
import { ListWorkersRequestSchema, ReportWorkerRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Worker, WorkerSchema, WorkerStatus } from "../../gen/signalbox/v1/worker_pb.ts";
import { openNats } from "../../src/eventlog/nats.ts";
import type { Call } from "../../src/kernel/call.ts";
import { openStack } from "../../src/stack/stack.ts";
import { openRegistry, type Registry } from "../../src/workers/registry.ts";
import { createWorkers } from "../../src/workers/workers.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { openTestBackend } from "../support/backend.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";

const backend = await openTestBackend();
afterAll(() => backend[Symbol.asyncDispose]());
const startMs = Date.UTC(2026, 0, 1);

/** A server's part in the registry of the file, with a clock of its own. */
async function openServer() {
  let nowMs = startMs;
  const clock = { now: () => new Date(nowMs) };
  const { nats, prefix, logger: log } = backend;
  const registry = await openRegistry({ nats, stream: `WORKERS_${prefix}`, prefix, replicas: 1, clock, log });
  return {
    registry,
    ...createWorkers({ registry, clock }),
    pass: (ms: number) => (nowMs += ms),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

function callOf(workspaceId: string): Call {
  const principal = create(PrincipalSchema);
  return { workspaceId, principal, correlationId: "c", traceparent: "", signal: new AbortController().signal };
}

const report = (worker: MessageInitShape<typeof WorkerSchema>) => create(ReportWorkerRequestSchema, { worker });
const page = (pageSize = 0, pageToken = "") => create(ListWorkersRequestSchema, { pageSize, pageToken });

test("every server lists what was reported to one of them, also one that starts later", async () => {
  const call = callOf(newWorkspaceId());
  await using one = await openServer();
  await using other = await openServer();
  await one.report(call, report({ workerId: "b", busy: 2, handlers: ["echo"], runIds: ["run_1", "run_2"] }));
  await one.report(call, report({ workerId: "a b/c.*>", host: "here", pid: 7 }));
  await until(() => other.list(call, page()).workers.length === 2, { what: "the other server to hear" });
  await using late = await openServer();
  for (const server of [one, other, late]) {
    expect(server.list(call, page()).workers).toMatchObject([
      { workerId: "a b/c.*>", host: "here", pid: 7, status: WorkerStatus.ACTIVE },
      { workerId: "b", busy: 2, handlers: ["echo"], runIds: ["run_1", "run_2"] },
    ]);
  }
});

test("the newest report counts, whichever server heard it last", async () => {
  const workspaceId = newWorkspaceId();
  await using server = await openServer();
  const seenAt = (ms: number, busy: number): Worker =>
    create(WorkerSchema, { workerId: "w", busy, lastSeenTime: timestampFromMs(startMs + ms) });
  await server.registry.put(workspaceId, seenAt(2_000, 2));
  await server.registry.put(workspaceId, seenAt(1_000, 1));
  expect(server.registry.of(workspaceId).get("w")).toMatchObject({ busy: 2 });
});

test("what is output only is not taken from a worker", async () => {
  const call = callOf(newWorkspaceId());
  await using server = await openServer();
  const lastSeenTime = timestampFromMs(0);
  await server.report(call, report({ workerId: "w", status: WorkerStatus.SILENT, lastSeenTime }));
  await server.report(call, report({ workerId: "x", status: WorkerStatus.DRAINING }));
  expect(server.list(call, page()).workers).toMatchObject([
    { status: WorkerStatus.ACTIVE, lastSeenTime: timestampFromMs(startMs) },
    { status: WorkerStatus.DRAINING },
  ]);
});

test("a worker is silent after 45 s and forgotten after 10 minutes", async () => {
  const call = callOf(newWorkspaceId());
  await using server = await openServer();
  await server.report(call, report({ workerId: "w" }));
  const status = () => server.list(call, page()).workers[0]?.status;
  server.pass(44_999);
  expect(status()).toBe(WorkerStatus.ACTIVE);
  server.pass(1);
  expect(status()).toBe(WorkerStatus.SILENT);
  server.pass(10 * 60_000 - 45_001);
  expect(status()).toBe(WorkerStatus.SILENT);
  server.pass(1);
  expect(status()).toBeUndefined();
  await server.report(call, report({ workerId: "w" }));
  expect(status()).toBe(WorkerStatus.ACTIVE);
});

test("workers come in pages, by worker_id", async () => {
  const call = callOf(newWorkspaceId());
  await using server = await openServer();
  const ids = ["c", "a", "ü 🚂", "b", "B"];
  for (const workerId of ids) await server.report(call, report({ workerId }));
  const listed: string[][] = [];
  let token = "";
  do {
    const { workers, nextPageToken } = server.list(call, page(2, token));
    listed.push(workers.map(({ workerId }) => workerId));
    token = nextPageToken;
  } while (token !== "");
  expect(listed).toEqual([["B", "a"], ["b", "c"], ["ü 🚂"]]);
  expect(() => server.list(call, page(2, "bm9uc2Vuc2U"))).toThrow(/page_token/);
});

test("a workspace sees its own workers only", async () => {
  const [a, b] = [callOf(newWorkspaceId()), callOf(newWorkspaceId())];
  await using server = await openServer();
  await server.report(a, report({ workerId: "same", host: "of a" }));
  await server.report(b, report({ workerId: "same", host: "of b" }));
  expect(server.list(a, page()).workers).toMatchObject([{ host: "of a" }]);
  expect(server.list(b, page()).workers).toMatchObject([{ host: "of b" }]);
});

test("a report that is too large, and one worker too many, are refused", async () => {
  const call = callOf(newWorkspaceId());
  await using server = await openServer();
  const runIds = Array.from({ length: 100 }, () => "x".repeat(1_000));
  await expect(server.report(call, report({ workerId: "w", runIds }))).rejects.toMatchObject({
    reason: "PAYLOAD_TOO_LARGE",
    metadata: { limit: "16384" },
  });
  const full = { of: () => new Map(Array.from({ length: 5_000 }, (_, n) => [`${n}`, create(WorkerSchema)])) };
  const registry = { ...full, put: () => Promise.resolve() } as unknown as Registry;
  const { report: reportToFull } = createWorkers({ registry, clock: { now: () => new Date() } });
  await expect(reportToFull(call, report({ workerId: "w" }))).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
  await reportToFull(call, report({ workerId: "17" }));
});

test("the registry goes on when the broker was killed and started again", { timeout: 60_000 }, async () => {
  const log = pino({ level: "silent" });
  await using folder = await temporaryFolder();
  const onFatal = (error: Error) => expect.unreachable(error.message);
  const databaseUrl = "postgres://elsewhere/db";
  await using stack = await openStack({ dataDir: folder.path, durability: "fsync", databaseUrl, log, onFatal });
  const open = async () => {
    const nats = await openNats({ url: stack.natsUrl, name: "test", log });
    const clock = { now: () => new Date() };
    const registry = await openRegistry({ nats, stream: "WORKERS", prefix: "sb", replicas: 1, clock, log });
    const close = async () => {
      await registry[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
    };
    return { nats, ...createWorkers({ registry, clock }), [Symbol.asyncDispose]: close };
  };
  await using one = await open();
  await using other = await open();
  const call = callOf("ws_a");
  await one.report(call, report({ workerId: "before" }));

  const pid = async () => Number(await readFile(join(folder.path, "nats", "server.pid"), "utf8"));
  const killed = await pid();
  process.kill(killed, "SIGKILL");
  await until(async () => (await pid()) !== killed, { what: "a restart" });
  const reported = () => one.report(call, report({ workerId: "after" })).catch(() => undefined);
  await until(reported, { what: "a report", timeoutMs: 30_000 });
  const ids = () => other.list(call, page()).workers.map(({ workerId }) => workerId);
  await until(() => ids().includes("after"), { what: "the other server to hear", timeoutMs: 30_000 });
  expect(ids()).toEqual(["after", "before"]);
  expect((await one.nats.jsm.streams.info("WORKERS")).config).toMatchObject({ max_msgs_per_subject: 1 });
});
