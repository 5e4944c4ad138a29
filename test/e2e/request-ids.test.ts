import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { methods, pathOf } from "./contract.ts";
import { askAgain, askByStep } from "./people.ts";
import { type ErrorBody, infoOf, postJson } from "./plain-http.ts";
import { quietly } from "./recorded.ts";
import { refusal } from "./refusal.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());
const [first, second] = installation.servers.map(({ url }) => url);

/** A client of each server, for a workspace of their own. */
function twoClients(): [SignalboxClient, SignalboxClient] {
  const workspaceId = newWorkspaceId();
  return [installation.client({ baseUrl: first, workspaceId }), installation.client({ baseUrl: second, workspaceId })];
}

async function createdRuns(client: SignalboxClient): Promise<string[]> {
  const minPosition = await headPosition(client);
  const { events } = await client.events.listEvents({ filter: { types: ["run.created"] }, minPosition, pageSize: 200 });
  return events.map(({ stream }) => stream?.id ?? "");
}

test("the same request answers the first run, as it is now", async () => {
  const [a, b] = twoClients();
  const request = { requestId: "once", handler: "by_hand", input: jsonValue({ n: 1 }), labels: { x: "1", y: "2" } };
  const { run } = await a.runs.createRun(request);
  expect((await b.runs.createRun(request)).run).toEqual(run);
  const runId = run?.runId ?? "";
  await a.runs.cancelRun({ runId });
  const repeated = await b.runs.createRun({ ...request, labels: { y: "2", x: "1" } });
  expect(repeated.run).toMatchObject({ runId, status: RunStatus.CANCELED });
  expect(await createdRuns(a)).toEqual([runId]);
});

test.each([
  ["another input", { input: jsonValue(2) }],
  ["another room", { roomId: "room_2" }],
  ["another handler", { handler: "other" }],
  ["a deadline", { maxDuration: { seconds: 5n } }],
])("the same request_id with %s is refused", async (_name, change) => {
  const [a, b] = twoClients();
  const request = { requestId: "once", handler: "by_hand", input: jsonValue(1), roomId: "room_1" };
  const { run } = await a.runs.createRun(request);
  expect(await refusal(b.runs.createRun({ ...request, ...change }))).toMatchObject({
    code: Code.AlreadyExists,
    reason: "REQUEST_ID_REUSED",
    metadata: { run_id: run?.runId },
  });
  expect(await createdRuns(a)).toHaveLength(1);
});

test("many creates with one request_id on two servers at the same time give one run", async () => {
  const [a, b] = twoClients();
  for (let round = 0; round < 10; round++) {
    const request = { requestId: `race-${round}`, handler: "by_hand" };
    const answers = await Promise.all([a, b, a, b, a, b].map((client) => client.runs.createRun(request)));
    expect(new Set(answers.map(({ run }) => run?.runId)).size).toBe(1);
  }
  expect(await createdRuns(a)).toHaveLength(10);
});

test("creates with one request_id and different rooms on two servers give one run, and the others are refused", async () => {
  const [a, b] = twoClients();
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.allSettled(
      [a, b, a, b].map((client, index) =>
        client.runs.createRun({ requestId: `rooms-${round}`, handler: "by_hand", roomId: `room_${index}` }),
      ),
    );
    const outcomes = answers.map((answer) => (answer.status === "fulfilled" ? "created" : reasonOf(answer.reason)));
    expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "REQUEST_ID_REUSED")).toHaveLength(3);
  }
  expect(await createdRuns(a)).toHaveLength(10);
});

test("a request_id belongs to its workspace", async () => {
  const [a] = twoClients();
  const [b] = twoClients();
  const request = { requestId: "shared", handler: "by_hand" };
  const runs = [await a.runs.createRun(request), await b.runs.createRun(request)];
  expect(new Set(runs.map(({ run }) => run?.runId)).size).toBe(2);
});

/** Two requests of every method with a request_id, the second one another than the first. A new one must be entered here. */
const repeatable: Record<string, (ids: Readonly<Record<string, string>>) => readonly [object, object]> = {
  "RunService/CreateRun": () => [{ handler: "nobody" }, { handler: "other" }],
  "RunService/ForkRun": ({ runId }) => [{ runId }, { runId, input: 1 }],
  "RunService/RetryRun": ({ failedRunId }) => [{ runId: failedRunId }, { runId: failedRunId, input: 1 }],
  "RunService/SendMessage": ({ runId }) => [
    { runId, content: 1 },
    { runId, content: 2 },
  ],
  "AgentService/CreateAgent": () => [{ name: "planner" }, { name: "other" }],
  "ScheduleService/CreateSchedule": () => [yearly, { ...yearly, cron: "@daily" }],
  "ScheduleService/TriggerSchedule": ({ scheduleId, otherScheduleId }) => [
    { scheduleId },
    { scheduleId: otherScheduleId },
  ],
  "DocumentService/AddDocument": () => [{ text: "a" }, { text: "b" }],
  "RoomService/CreateRoom": () => [{ name: "control" }, { name: "control", topic: "t" }],
  "RoomService/CreateThread": ({ roomId }) => [
    { roomId, title: "launch" },
    { roomId, title: "landing" },
  ],
  "RoomService/PostMessage": ({ roomId, threadId }) => [
    { roomId, text: "hello" },
    { roomId, text: "hello", threadId },
  ],
  "ArtifactService/CreateArtifact": () => [
    { spec: { name: "a" }, data: "YWJj" },
    { spec: { name: "a" }, data: "YWJk" },
  ],
  "ArtifactService/CreateUpload": () => [
    { spec: { name: "a", sizeBytes: "3" } },
    { spec: { name: "a", sizeBytes: "4" } },
  ],
  "EvalService/Evaluate": ({ suiteId }) => [
    { suiteId, target: { handler: "nobody" }, queue: "nobody" },
    { suiteId, target: { handler: "other" }, queue: "nobody" },
  ],
  "IncidentService/OpenIncident": ({ roomId }) => [{ title: "leak" }, { title: "leak", roomId }],
};

const yearly = { name: "yearly", cron: "@yearly", run: { handler: "nobody" } };
const keys = ["request_id", "idempotency_key"];
const withKey = methods.flatMap((method) => {
  const key = method.input.fields.find(({ name }) => keys.includes(name))?.jsonName;
  return key === undefined ? [] : [[pathOf(method), key] as const];
});
const workspaceId = newWorkspaceId();
const ids = await someIds(installation.client({ workspaceId }));

describe.each(withKey)("%s", (path, key) => {
  const [request, change] = repeatable[path]?.(ids) ?? [];
  const send = (url: string | undefined, body: object | undefined, requestId = `${path} once`.replace(" ", "-")) =>
    postJson<object>(url ?? "", path, { ...body, [key]: requestId }, { "x-workspace-id": workspaceId });

  test("answers the same request with the first result on every server, and refuses another one", async () => {
    if (request === undefined) throw new Error(`${path} is new: enter two requests`);
    const answer = await send(first, request);
    expect(answer.status).toBe(200);
    const client = installation.client({ workspaceId });
    const repeated = await quietly(client, () => send(second, request));
    expect(resourceOf(repeated.body)).toEqual(resourceOf(answer.body));
    const refused = await quietly(client, () => send(second, change));
    const reused = { status: 409, reason: "REQUEST_ID_REUSED" };
    expect({ status: refused.status, ...infoOf(refused.body as ErrorBody) }).toMatchObject(reused);
  });

  test("gives one result to many at the same time on two servers", async () => {
    const answers = await Promise.all([first, second, first, second].map((url) => send(url, request, `${path}-race`)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(new Set(answers.map(({ body }) => JSON.stringify(idsOf(resourceOf(body))))).size).toBe(1);
  });
});

/** What a command answers beside the position. */
function resourceOf(body: object): object {
  return Object.fromEntries(Object.entries(body).filter(([name]) => name !== "position"));
}

function idsOf(resources: object): string[] {
  const [resource = {}] = Object.values(resources) as object[];
  return Object.entries(resource).flatMap(([name, value]) =>
    /^(number|\w+Id)$/.test(name) ? [`${name} ${String(value)}`] : [],
  );
}

async function someIds(client: SignalboxClient) {
  const { run } = await client.runs.createRun({ handler: "nobody" });
  const failed = await client.runs.createRun({ handler: "nobody" });
  await client.runs.cancelRun({ runId: failed.run?.runId ?? "" });
  const { room } = await client.rooms.createRoom({ name: "control" });
  const roomId = room?.roomId ?? "";
  const { thread } = await client.rooms.createThread({ roomId, title: "launch" });
  const schedules = await Promise.all([1, 2].map(() => client.schedules.createSchedule(yearly)));
  const [scheduleId = "", otherScheduleId = ""] = schedules.map(({ schedule }) => schedule?.scheduleId ?? "");
  const failedRunId = failed.run?.runId ?? "";
  const { suite } = await client.evals.putSuite({
    suite: { name: "once", cases: [{ key: "a", expected: jsonValue(1) }] },
  });
  return {
    runId: run?.runId ?? "",
    failedRunId,
    roomId,
    threadId: thread?.threadId ?? "",
    suiteId: suite?.suiteId ?? "",
    scheduleId,
    otherScheduleId,
  };
}

test("what is asked of people once is asked once, and a switch that is set stays set", async () => {
  const [a, b] = twoClients();
  const { claimed, stepId, approval } = await askByStep(a);
  const { leaseToken } = claimed;
  const question = { leaseToken, stepId, action: { type: "launch", target: "pad 39A" }, payload: approval.payload! };
  expect((await quietly(a, () => b.approvals.requestApproval(question))).approval).toEqual(approval);
  const call = await askAgain(a, leaseToken);
  expect(await quietly(a, () => askAgain(b, leaseToken))).toEqual(call);
  const on = { on: true, reason: "drill" };
  const { killSwitch } = await a.policy.setKillSwitch(on);
  expect((await quietly(a, () => b.policy.setKillSwitch(on))).killSwitch).toEqual(killSwitch);
  const { policy } = await a.policy.putPolicy({ policy: { denyUnregistered: true, note: "once" } });
  const again = { policy: { denyUnregistered: true, note: "twice" } };
  expect((await quietly(a, () => b.policy.putPolicy(again))).policy).toEqual(policy);
});

test("a run of an agent can be asked for again after the agent was archived", async () => {
  const [a, b] = twoClients();
  const { agent } = await a.agents.createAgent({ name: "planner" });
  const request = { requestId: "once", agentId: agent?.agentId ?? "" };
  const { run } = await a.runs.createRun(request);
  await a.agents.archiveAgent({ agentId: request.agentId });
  expect((await b.runs.createRun(request)).run).toEqual(run);
});

test("request_ids are remembered after every server was restarted", async () => {
  const [a, b] = twoClients();
  const request = { requestId: "for-ever", handler: "by_hand" };
  const { run } = await a.runs.createRun(request);
  await Promise.all(installation.servers.map((server) => server.stop()));
  await Promise.all(installation.servers.map((server) => server.start()));
  expect((await b.runs.createRun(request)).run).toEqual(run);
  expect(await refusal(a.runs.createRun({ ...request, handler: "other" }))).toMatchObject({
    reason: "REQUEST_ID_REUSED",
  });
});
