import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, describe, expect, test } from "vitest";
import { AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { RunStatus, StepStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { WorkerStatus } from "../../gen/signalbox/v1/worker_pb.ts";
import { ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { claim } from "./claims.ts";
import { methods, pathOf } from "./contract.ts";
import { keepFiles, keepSuite } from "./files-at-work.ts";
import { decideOnApprovals, keepIncident, keepPolicy, stopWrites, talk } from "./people-at-work.ts";
import { reasonFor } from "./refusal.ts";
import { subscribed } from "./subscribed.ts";
import { openWork } from "./work-streams.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const { url } = installation;

interface Common {
  readonly baseUrl: string;
  readonly interceptors: Interceptor[];
}
type Options = Common & ({ readonly httpVersion: "1.1" } | { readonly httpVersion: "2" });

/** Every protocol over every version of HTTP that carries it, in both encodings. gRPC needs HTTP/2. */
const transports: [string, (options: Common) => Transport][] = [
  ["Connect over HTTP/1.1", (options) => createConnectTransport({ ...options, httpVersion: "1.1" })],
  ["Connect over h2c", (options) => createConnectTransport({ ...options, httpVersion: "2" })],
  ["Connect with JSON over HTTP/1.1", (options) => connectJson({ ...options, httpVersion: "1.1" })],
  ["Connect with JSON over h2c", (options) => connectJson({ ...options, httpVersion: "2" })],
  ["Connect with GET over HTTP/1.1", (options) => connectGet({ ...options, httpVersion: "1.1" })],
  ["gRPC over h2c", (options) => createGrpcTransport(options)],
  ["gRPC with JSON over h2c", (options) => createGrpcTransport({ ...options, useBinaryFormat: false })],
  ["gRPC-Web over HTTP/1.1", (options) => createGrpcWebTransport({ ...options, httpVersion: "1.1" })],
  ["gRPC-Web over h2c", (options) => createGrpcWebTransport({ ...options, httpVersion: "2" })],
];

const connectJson = (options: Options) => createConnectTransport({ ...options, useBinaryFormat: false });
const connectGet = (options: Options) => createConnectTransport({ ...options, useHttpGet: true });

/** A client that keeps the paths of the methods it has called. */
function countingClient(createTransport: (options: Common) => Transport) {
  const called = new Set<string>();
  const counting: Interceptor = (next) => (request) => {
    called.add(pathOf(request.method));
    return next(request);
  };
  const transport = createTransport({ baseUrl: url, interceptors: [counting] });
  return { client: installation.client({ transport, workspaceId: newWorkspaceId() }), called };
}

describe.each(transports)("%s", (name, createTransport) => {
  test("carries every method of every service", async () => {
    const { client, called } = countingClient(createTransport);
    await stopWrites(client);
    await keepPolicy(client);
    await decideOnApprovals(client);
    await talk(client);
    await keepIncident(client);
    await keepFiles(client);
    await keepSuite(client);
    const agentId = await keepAgent(client);
    await keepSchedule(client);
    await converse(client);
    await keepQueue(client);
    await keepDocument(client);
    await workOnRun(client, agentId);
    await steerRun(client);
    await endOtherwise(client);
    await reportWorker(client);
    await (name.endsWith("HTTP/1.1") ? failOverStream(client) : workOverStream(client));
    expect([...called].toSorted()).toEqual(methods.map(pathOf).toSorted());
  });

  test("carries why a call was refused, unary and in a stream", async () => {
    const { client } = countingClient(createTransport);
    const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    expect(await reasonFor(client.runs.getRun({ runId }))).toBe("RUN_NOT_FOUND");
    await using subscription = await subscribed(client, { filter: { runId } });
    const refused = subscription.ended.then((error) => Promise.reject(error as Error));
    expect(await reasonFor(refused)).toBe("RUN_NOT_FOUND");
  });
});

async function keepAgent(client: SignalboxClient): Promise<string> {
  const { agent } = await client.agents.createAgent({ name: "planner", handler: "by_hand" });
  const agentId = agent?.agentId ?? "";
  const update = { agent: { agentId, model: "large" }, updateMask: { paths: ["model"] } };
  const { position: minPosition } = await client.agents.updateAgent(update);
  expect((await client.agents.getAgent({ agentId })).agent).toMatchObject({ model: "large" });
  expect((await client.agents.listAgents({ minPosition })).agents).toMatchObject([{ agentId, model: "large" }]);
  return agentId;
}

async function keepSchedule(client: SignalboxClient): Promise<void> {
  const run = { handler: "nobody", input: jsonValue("grüße 🚂") };
  const created = await client.schedules.createSchedule({ name: "yearly", cron: "@yearly", run });
  const scheduleId = created.schedule?.scheduleId ?? "";
  const update = { schedule: { scheduleId, timeZone: "Asia/Tokyo" }, updateMask: { paths: ["time_zone"] } };
  const { position: minPosition } = await client.schedules.updateSchedule(update);
  const { schedule } = await client.schedules.getSchedule({ scheduleId });
  expect(schedule).toMatchObject({ timeZone: "Asia/Tokyo", run: { labels: { schedule: scheduleId } } });
  expect((await client.schedules.listSchedules({ minPosition })).schedules).toEqual([schedule]);
  const triggered = await client.schedules.triggerSchedule({ scheduleId });
  expect(triggered.run).toMatchObject({ input: run.input, labels: { schedule: scheduleId } });
  const archived = await client.schedules.archiveSchedule({ scheduleId });
  expect(archived.schedule).toMatchObject({ status: ScheduleStatus.ARCHIVED });
}

async function keepDocument(client: SignalboxClient): Promise<void> {
  const text = "Grüße 🚂. A red signal means stop.";
  const { document } = await client.documents.addDocument({ title: "rules", text, metadata: { edition: "4" } });
  const documentId = document?.documentId ?? "";
  expect((await client.documents.getDocument({ documentId })).document).toEqual({ ...document, text });
  const minPosition = document?.position ?? 0n;
  expect((await client.documents.listDocuments({ minPosition })).documents).toEqual([document]);
  const { citations } = await client.documents.searchDocuments({ query: "red signal", minPosition });
  expect(citations).toMatchObject([{ documentId, text, start: 0, end: text.length, metadata: { edition: "4" } }]);
  await client.documents.deleteDocument({ documentId });
}

async function keepQueue(client: SignalboxClient): Promise<void> {
  const settings = { name: "night", maxRunning: 3, rateLimit: { runs: 5, period: { seconds: 60n } } };
  const { queue, position: minPosition } = await client.queues.putQueue({ queue: settings });
  expect(queue).toMatchObject(settings);
  expect((await client.queues.getQueue({ name: "night", minPosition })).queue).toEqual(queue);
  expect((await client.queues.listQueues({ minPosition })).queues).toContainEqual(queue);
}

async function converse(client: SignalboxClient): Promise<void> {
  const sessionId = "sess_a";
  const { run, position: minPosition } = await client.runs.createRun({ handler: "nobody", sessionId });
  const throughRunId = run?.runId ?? "";
  const { turns } = await client.sessions.getSessionHistory({ sessionId, minPosition });
  expect(turns).toMatchObject([{ runId: throughRunId, status: RunStatus.QUEUED }]);
  const compacted = await client.sessions.compactSession({
    sessionId,
    summary: "grüße 🚂",
    throughRunId,
    turnCount: 1,
  });
  const { session } = await client.sessions.getSession({ sessionId, minPosition: compacted.position });
  expect(session).toEqual(compacted.session);
  const { sessions } = await client.sessions.listSessions({ minPosition: compacted.position });
  expect(sessions).toEqual([session]);
}

/** The whole life of a run, two attempts long, with everything that a worker can record. */
async function workOnRun(client: SignalboxClient, agentId: string): Promise<void> {
  const input = jsonValue({ text: "grüße 🚂", list: [1, 2.5, null, true] });
  const { run } = await client.runs.createRun({ agentId, input, labels: { n: "1" } });
  const runId = run?.runId ?? "";
  await using subscription = await subscribed(client, { filter: { runId } });
  const first = await claim(client, "by_hand");
  expect(first.run).toMatchObject({ runId, status: RunStatus.RUNNING });
  expect(valueToJson(first.run.input)).toEqual({ text: "grüße 🚂", list: [1, 2.5, null, true] });
  await recordAll(client, first.leaseToken);
  await client.engine.releaseRun({ leaseToken: first.leaseToken });

  const { leaseToken, unknownToolCalls } = await claim(client, "by_hand");
  const toolCallId = unknownToolCalls[0]?.toolCallId ?? "";
  const { toolCall } = await client.engine.reconcileToolCall({ leaseToken, toolCallId, note: "nothing was sent" });
  expect(toolCall).toMatchObject({ status: ToolCallStatus.RECONCILED });
  const waiting = client.runs.waitRun({ runId });
  const completed = await client.engine.completeRun({ leaseToken, output: jsonValue("done") });
  expect((await waiting).run).toEqual(completed.run);
  expect((await client.runs.getRun({ runId })).run).toEqual(completed.run);
  await readAll(client, runId, completed.position);
  expect(await subscription.ended).toBeUndefined();
  const { events, complete } = await client.events.listEvents({ filter: { runId } });
  expect(complete).toBe(true);
  expect(subscription.events.map(plain)).toEqual(events.map(plain));
  const found = await client.events.getEvent({ eventId: events[0]?.eventId ?? "" });
  expect(found.event && plain(found.event)).toEqual(events.map(plain)[0]);
}

/** Bytes arrive as a Buffer or as a Uint8Array, as the transport likes. */
function plain(event: Event): JsonValue {
  return toJson(EventSchema, event);
}

async function recordAll(client: SignalboxClient, leaseToken: string): Promise<void> {
  const { engine } = client;
  expect(await engine.heartbeat({ leaseToken })).toMatchObject({ cancelRequested: false });
  await engine.publishDeltas({ leaseToken, deltas: [{ stepKey: "a", text: "grüße 🚂", data: jsonValue([1, null]) }] });
  const error = { code: "OOPS", message: "again", retryable: true };
  const { step } = await engine.startStep({ leaseToken, key: "a" });
  const stepId = step?.stepId ?? "";
  await engine.failStep({ leaseToken, stepId, error });
  await engine.startStep({ leaseToken, key: "a" });
  expect((await engine.completeStep({ leaseToken, stepId })).step).toMatchObject({ status: StepStatus.COMPLETED });
  const call = { leaseToken, key: "a", tool: "mail", effect: ToolEffect.EXTERNAL_WRITE, stepId };
  await openGate(client);
  const toolCallId = (await engine.startToolCall(call)).toolCall?.toolCallId ?? "";
  await engine.failToolCall({ leaseToken, toolCallId, error });
  await engine.startToolCall(call);
  await engine.succeedToolCall({ leaseToken, toolCallId, result: jsonValue("sent") });
  await engine.startToolCall({ ...call, key: "left open" });
}

async function readAll(client: SignalboxClient, runId: string, minPosition: bigint): Promise<void> {
  expect((await client.runs.listRuns({ labels: { n: "1" }, minPosition })).runs).toMatchObject([{ runId }]);
  expect((await client.runs.listSteps({ runId, minPosition })).steps).toMatchObject([{ key: "a", attempt: 2 }]);
  expect((await client.runs.listToolCalls({ runId, minPosition })).toolCalls).toMatchObject([
    { key: "a", status: ToolCallStatus.SUCCEEDED },
    { key: "left open", status: ToolCallStatus.RECONCILED },
  ]);
}

async function steerRun(client: SignalboxClient): Promise<void> {
  const { run } = await client.runs.createRun({ handler: "steered" });
  const runId = run?.runId ?? "";
  const { leaseToken } = await claim(client, "steered");
  const conditions = [{ condition: { case: "message", value: {} } }] as const;
  expect(await client.engine.suspendRun({ leaseToken, conditions: [...conditions] })).toMatchObject({
    suspended: true,
    run: { status: RunStatus.WAITING, waitingOn: { conditions } },
  });
  const { message } = await client.runs.sendMessage({ runId, content: jsonValue("grüße 🚂") });
  expect(message).toMatchObject({ number: 1, content: jsonValue("grüße 🚂") });
  const paused = await client.runs.pauseRun({ runId, note: "track works" });
  expect(paused.run).toMatchObject({ status: RunStatus.PAUSED, pause: { note: "track works" } });
  const resumed = await client.runs.resumeRun({ runId, budget: { maxSteps: 9n } });
  expect(resumed.run).toMatchObject({ status: RunStatus.QUEUED, budget: { maxSteps: 9n } });
  const forked = await client.runs.forkRun({ runId, input: jsonValue([1]) });
  expect(forked.run).toMatchObject({ baseRunId: runId, input: jsonValue([1]) });
  await client.runs.cancelRun({ runId });
  expect((await client.runs.retryRun({ runId })).run).toMatchObject({ baseRunId: runId, status: RunStatus.QUEUED });
}

async function reportWorker(client: SignalboxClient): Promise<void> {
  await client.engine.reportWorker({ worker: { workerId: "grüße 🚂", busy: 1 } });
  const { workers } = await client.engine.listWorkers({});
  expect(workers).toMatchObject([{ workerId: "grüße 🚂", busy: 1, status: WorkerStatus.ACTIVE }]);
}

/** A stream both ways takes HTTP/2. */
async function failOverStream(client: SignalboxClient): Promise<void> {
  await using work = openWork(client, "streamed");
  expect(await work.ended).toMatchObject({ rawMessage: "HTTP 505" });
}

async function workOverStream(client: SignalboxClient): Promise<void> {
  await using work = openWork(client, "streamed");
  const { run } = await client.runs.createRun({ handler: "streamed", input: jsonValue("grüße 🚂") });
  work.want(1);
  const { leaseToken, ...claimed } = await work.run();
  expect(claimed.run).toMatchObject({ runId: run?.runId, input: jsonValue("grüße 🚂") });
  const refused = await work.call({ case: "completeStep", value: { leaseToken, stepId: "x" } });
  expect(refused).toMatchObject({ case: "error", value: { reason: "INVALID_REQUEST" } });
  const ended = await work.call({ case: "completeRun", value: { leaseToken, output: jsonValue("done") } });
  expect(ended).toMatchObject({ value: { run: { status: RunStatus.SUCCEEDED, output: jsonValue("done") } } });
}

async function endOtherwise(client: SignalboxClient): Promise<void> {
  const { run } = await client.runs.createRun({ handler: "other" });
  await client.runs.cancelRun({ runId: run?.runId ?? "" });
  await client.runs.createRun({ handler: "failing" });
  const { leaseToken } = await claim(client, "failing");
  const failed = await client.engine.failRun({ leaseToken, error: { code: "NO", message: "no" } });
  expect(failed.run).toMatchObject({ status: RunStatus.FAILED, error: { code: "NO" } });
  const { agents } = await client.agents.listAgents({});
  const { agent } = await client.agents.archiveAgent({ agentId: agents[0]?.agentId ?? "" });
  expect(agent).toMatchObject({ status: AgentStatus.ARCHIVED });
}

test.each(
  methods.filter(({ methodKind }) => methodKind === "unary").map((method) => [pathOf(method), method] as const),
)("%s is read with GET if it has no side effects, and only then", async (path, { idempotency }) => {
  const query = new URLSearchParams({ connect: "v1", encoding: "json", message: "{}" }).toString();
  const { status } = await fetch(`${url}/signalbox.v1.${path}?${query}`);
  const readOnly = idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  // An empty message is a good request for some and a bad one for others.
  expect(readOnly ? [200, 400] : [405]).toContain(status);
});

test("one port serves HTTP/1.1 and h2c at the same time", async () => {
  const workspaceId = newWorkspaceId();
  const h1 = installation.client({ workspaceId, httpVersion: "1.1" });
  const h2 = installation.client({ workspaceId, protocol: "grpc" });
  const created = await Promise.all(
    Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? h1 : h2).runs.createRun({ handler: "nobody" })),
  );
  expect(new Set(created.map(({ run }) => run?.runId)).size).toBe(40);
});
