import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { type Run, RunStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { ListRunsRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { askByCall } from "./people.ts";
import { refusal } from "./refusal.ts";
import { subscribed, texts } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });

/** Creates runs one after the other; returns them, and the position that a list must have reached to show them all. */
async function createRuns(client: SignalboxClient, requests: Parameters<SignalboxClient["runs"]["createRun"]>[0][]) {
  const runs: Run[] = [];
  let minPosition = 0n;
  for (const request of requests) {
    const { run, position } = await client.runs.createRun(request);
    if (run) runs.push(run);
    minPosition = position;
  }
  return { runs, minPosition };
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ handler: "by_hand", labels: { n: `${n}` } }));

describe("pages", () => {
  test("walk through all runs, newest first, each once, whatever is created meanwhile", async () => {
    const client = newClient();
    const { runs, minPosition } = await createRuns(client, numbered(7));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await client.runs.listRuns({ pageSize: 3, pageToken, minPosition });
      expect(page.runs.length).toBeLessThanOrEqual(3);
      seen.push(...page.runs.map(({ runId }) => runId));
      pageToken = page.nextPageToken;
      await client.runs.createRun({ handler: "meanwhile" });
    } while (pageToken !== "");
    expect(seen).toEqual(runs.map(({ runId }) => runId).toReversed());
  });

  test("have 50 items unless asked otherwise, and never more than 200", async () => {
    const client = newClient();
    const { minPosition } = await createRuns(client, numbered(201));
    const usual = await client.runs.listRuns({ minPosition });
    expect(usual.runs).toHaveLength(50);
    const most = await client.runs.listRuns({ minPosition, pageSize: 1_000 });
    expect(most.runs).toHaveLength(200);
    const rest = await client.runs.listRuns({ minPosition, pageSize: 1_000, pageToken: most.nextPageToken });
    expect(rest).toMatchObject({ runs: [{ labels: { n: "0" } }], nextPageToken: "" });
    const { events } = await client.events.listEvents({ minPosition, pageSize: 1_000 });
    expect(events).toHaveLength(200);
  });

  test.each([
    ["of another list", { agents: true }],
    ["of other filters", { roomId: "room_other" }],
    ["that is none of ours", { pageToken: "bm90IG91cnM" }],
    ["that is no base64 at all", { pageToken: "~~~" }],
  ])(
    "refuse a token %s",
    async (_name, { agents, ...change }: { agents?: boolean; roomId?: string; pageToken?: string }) => {
      const client = newClient();
      const { minPosition } = await createRuns(client, numbered(2));
      const { nextPageToken: pageToken } = await client.runs.listRuns({ pageSize: 1, minPosition });
      expect(pageToken).not.toBe("");
      const call = agents ? client.agents.listAgents({ pageToken }) : client.runs.listRuns({ pageToken, ...change });
      expect(await refusal(call)).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    },
  );

  test("refuse the token of another workspace", async () => {
    const client = newClient();
    const { minPosition } = await createRuns(client, numbered(2));
    const { nextPageToken: pageToken } = await client.runs.listRuns({ pageSize: 1, minPosition });
    expect(await refusal(newClient().runs.listRuns({ pageToken }))).toMatchObject({ reason: "INVALID_REQUEST" });
  });

  test("refuse a negative size on every list", async () => {
    const client = newClient();
    const { run } = await createAndClaim(client);
    const { runId } = run;
    const pageSize = -1;
    const calls = [
      client.runs.listRuns({ pageSize }),
      client.runs.listSteps({ runId, pageSize }),
      client.runs.listToolCalls({ runId, pageSize }),
      client.agents.listAgents({ pageSize }),
      client.schedules.listSchedules({ pageSize }),
      client.sessions.listSessions({ pageSize }),
      client.sessions.getSessionHistory({ sessionId: "sess_a", pageSize }),
      client.events.listEvents({ pageSize }),
    ];
    for (const refused of await Promise.all(calls.map(refusal))) {
      expect(refused).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    }
  });
});

describe("runs are listed by", () => {
  const client = newClient();
  const filters: [
    string,
    (found: Awaited<ReturnType<typeof mixedRuns>>) => MessageInitShape<typeof ListRunsRequestSchema>,
    string[],
  ][] = [
    ["status", () => ({ statuses: [RunStatus.CANCELED] }), ["canceled"]],
    [
      "several statuses",
      () => ({ statuses: [RunStatus.CANCELED, RunStatus.QUEUED] }),
      ["late", "canceled", "agent", "room"],
    ],
    ["agent", ({ agentId }) => ({ agentId }), ["agent"]],
    ["room", () => ({ roomId: "room_a" }), ["room"]],
    ["label", () => ({ labels: { team: "x" } }), ["canceled", "room"]],
    ["all of several labels", () => ({ labels: { team: "x", tier: "1" } }), ["room"]],
    ["handler", () => ({ handler: "special" }), ["canceled"]],
    ["time from", ({ lateMs }) => ({ startTime: timestampFromMs(lateMs) }), ["late"]],
    ["time to", ({ lateMs }) => ({ endTime: timestampFromMs(lateMs) }), ["canceled", "agent", "room"]],
    ["a combination", () => ({ labels: { team: "x" }, statuses: [RunStatus.QUEUED] }), ["room"]],
    ["something nobody has", () => ({ roomId: "room_nobody" }), []],
  ];
  const mixed = mixedRuns(client);

  test.each(filters)("%s", async (_name, filter, expected) => {
    const found = await mixed;
    const { runs } = await client.runs.listRuns({ ...filter(found), minPosition: found.minPosition });
    expect(runs.map(({ labels }) => labels["name"])).toEqual(expected);
  });
});

async function mixedRuns(client: SignalboxClient) {
  const { agent } = await client.agents.createAgent({ name: "planner" });
  const agentId = agent?.agentId ?? "";
  const { runs } = await createRuns(client, [
    { handler: "plain", roomId: "room_a", labels: { name: "room", team: "x", tier: "1" } },
    { agentId, labels: { name: "agent", team: "y" } },
    { handler: "special", labels: { name: "canceled", team: "x" } },
  ]);
  await client.runs.cancelRun({ runId: runs[2]?.runId ?? "" });
  // The times of two runs may fall into one millisecond: another workspace waits until the next one has begun.
  const elsewhere = newClient();
  const nextMs = () => elsewhere.runs.createRun({ handler: "plain" }).then(({ run }) => timeOf(run));
  await until(async () => (await nextMs()) > timeOf(runs[2]), { what: "the next millisecond" });
  const late = await client.runs.createRun({ handler: "plain", labels: { name: "late" } });
  return { agentId, lateMs: timeOf(late.run), minPosition: late.position };
}

function timeOf(run: Run | undefined): number {
  return run?.createTime ? timestampMs(run.createTime) : 0;
}

describe("with min_position a list shows the write just made:", () => {
  test("runs", async () => {
    const client = newClient();
    for (let round = 0; round < 20; round++) {
      const { run, position: minPosition } = await client.runs.createRun({ handler: "by_hand" });
      const { runs } = await client.runs.listRuns({ minPosition, pageSize: 1 });
      expect(runs).toEqual([run]);
    }
  });

  test("agents", async () => {
    const client = newClient();
    const { agent, position: minPosition } = await client.agents.createAgent({ name: "planner" });
    const { agents } = await client.agents.listAgents({ minPosition });
    expect(agents).toEqual([agent]);
    const archived = await client.agents.archiveAgent({ agentId: agent?.agentId ?? "" });
    const statuses = [AgentStatus.ACTIVE];
    expect(await client.agents.listAgents({ minPosition: archived.position, statuses })).toMatchObject({ agents: [] });
  });

  test("schedules", async () => {
    const client = newClient();
    const request = { name: "yearly", cron: "@yearly", run: { handler: "nobody" } };
    const { schedule, position: minPosition } = await client.schedules.createSchedule(request);
    expect((await client.schedules.listSchedules({ minPosition })).schedules).toEqual([schedule]);
  });

  test("sessions and their turns", async () => {
    const client = newClient();
    const sessionId = "sess_a";
    const { run, position: minPosition } = await client.runs.createRun({ handler: "by_hand", sessionId });
    expect((await client.sessions.listSessions({ minPosition })).sessions).toMatchObject([{ sessionId, runCount: 1n }]);
    const { turns } = await client.sessions.getSessionHistory({ sessionId, minPosition });
    expect(turns).toMatchObject([{ runId: run?.runId }]);
  });

  test("steps and tool calls", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    const { runId } = run;
    const { step, position } = await client.engine.startStep({ leaseToken, key: "plan" });
    expect(await client.runs.listSteps({ runId, minPosition: position })).toMatchObject({
      steps: [{ stepId: step?.stepId, key: "plan" }],
    });
    const call = { leaseToken, key: "mail", tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE };
    await openGate(client);
    const started = await client.engine.startToolCall(call);
    const minPosition = started.position;
    expect(await client.runs.listToolCalls({ runId, minPosition })).toMatchObject({
      toolCalls: [{ toolCallId: started.toolCall?.toolCallId, status: ToolCallStatus.STARTED }],
    });
    const statuses = [ToolCallStatus.SUCCEEDED];
    expect((await client.runs.listToolCalls({ runId, minPosition, statuses })).toolCalls).toEqual([]);
  });

  test("events", async () => {
    const client = newClient();
    const { run, position: minPosition } = await client.runs.createRun({ handler: "by_hand" });
    const { events } = await client.events.listEvents({ minPosition });
    expect(events).toMatchObject([{ position: minPosition, stream: { type: "run", id: run?.runId } }]);
    const eventId = events[0]?.eventId ?? "";
    expect((await client.events.getEvent({ eventId, minPosition })).event).toEqual(events[0]);
  });
});

test("steps and tool calls come in the order of their start, page by page", async () => {
  const client = newClient();
  await client.runs.createRun({ handler: "by_hand" });
  const { run, leaseToken } = await claim(client, "by_hand");
  const { runId } = run;
  const keys = ["c", "a", "b", "e", "d"];
  let minPosition = 0n;
  for (const key of keys) {
    await client.engine.startStep({ leaseToken, key });
    const call = await client.engine.startToolCall({ leaseToken, key, tool: "read", effect: ToolEffect.READ });
    minPosition = call.position;
  }
  const found: Record<"steps" | "calls", string[]> = { steps: [], calls: [] };
  let tokens = { steps: "", calls: "" };
  do {
    const steps = await client.runs.listSteps({ runId, pageSize: 2, pageToken: tokens.steps, minPosition });
    const calls = await client.runs.listToolCalls({ runId, pageSize: 2, pageToken: tokens.calls, minPosition });
    found.steps.push(...steps.steps.map(({ key }) => key));
    found.calls.push(...calls.toolCalls.map(({ key }) => key));
    tokens = { steps: steps.nextPageToken, calls: calls.nextPageToken };
  } while (tokens.steps !== "" && tokens.calls !== "");
  expect(found).toEqual({ steps: keys, calls: keys });
  expect(tokens).toEqual({ steps: "", calls: "" });
});

test("calls that nobody knows the outcome of are listed across runs, until a person says what became of them", async () => {
  const client = newClient();
  await openGate(client);
  const statuses = [ToolCallStatus.UNKNOWN];
  const call = { key: "mail", tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE, target: "mailto:ada@example.com" };
  let minPosition = 0n;
  for (let n = 0; n < 3; n++) {
    const { leaseToken } = await createAndClaim(client);
    if (n < 2) await client.engine.startToolCall({ leaseToken, ...call });
    minPosition = (await client.engine.releaseRun({ leaseToken, delay: { seconds: 60n } })).position;
  }
  const inbox = await client.runs.listToolCalls({ statuses, minPosition });
  const { key, tool, target } = call;
  const unknown = { key, tool, target, status: ToolCallStatus.UNKNOWN };
  expect(inbox.toolCalls).toMatchObject([unknown, unknown]);
  const [first, second] = inbox.toolCalls;
  const said = { toolCallId: first?.toolCallId ?? "", runId: first?.runId ?? "", note: "it is in the outbox" };
  const alice = client.onBehalfOf("user:alice");
  const answer = await alice.engine.reconcileToolCall({ ...said, result: jsonValue("sent") });
  expect(answer.toolCall).toMatchObject({ status: ToolCallStatus.RECONCILED, result: jsonValue("sent") });
  expect(await alice.engine.reconcileToolCall({ ...said, result: jsonValue("sent") })).toEqual(answer);
  const left = await client.runs.listToolCalls({ statuses, minPosition: answer.position });
  expect(left.toolCalls).toEqual([second]);
});

test("events of a thread are its messages, and the runs and approvals that belong to it", async () => {
  const client = newClient();
  const { room } = await client.rooms.createRoom({ name: "control" });
  const roomId = room?.roomId ?? "";
  const { thread } = await client.rooms.createThread({ roomId, title: "launch" });
  const threadId = thread?.threadId ?? "";
  await client.rooms.postMessage({ roomId, threadId, text: "ready?" });
  await client.rooms.postMessage({ roomId, text: "elsewhere" });
  await askByCall(client, {}, { roomId, threadId });
  const { position: minPosition } = await client.runs.createRun({ handler: "nobody", roomId });
  const filter = { threadId };
  const { events } = await client.events.listEvents({ filter, minPosition });
  expect(events.map(({ type }) => type)).toEqual([
    "thread.created",
    "message.posted",
    "run.created",
    "run.claimed",
    "tool_call.gated",
    "approval.requested",
  ]);
  await using subscription = await subscribed(client, { filter });
  await until(() => subscription.events.length === events.length, { what: "the events of the thread" });
  expect(texts(subscription.events)).toEqual(texts(events));
});

test("large runs end a page at 2 MiB, and the token goes on", async () => {
  const client = newClient();
  const input = { kind: { case: "stringValue" as const, value: "x".repeat(900_000) } };
  const { minPosition } = await createRuns(
    client,
    Array.from({ length: 4 }, () => ({ handler: "by_hand", input })),
  );
  const first = await client.runs.listRuns({ minPosition });
  expect(first.runs).toHaveLength(2);
  const second = await client.runs.listRuns({ minPosition, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ runs: [{}, {}], nextPageToken: "" });
  const events = await client.events.listEvents({});
  expect(events.events).toHaveLength(2);
  const rest = await client.events.listEvents({ afterPosition: events.nextPosition });
  expect(rest.events).toHaveLength(2);
});
