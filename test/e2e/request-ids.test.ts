import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
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

test("the same request answers the first agent, and with another body it is refused", async () => {
  const [a, b] = twoClients();
  const request = { requestId: "once", name: "planner" };
  const { agent } = await a.agents.createAgent(request);
  expect((await b.agents.createAgent(request)).agent).toEqual(agent);
  expect(await refusal(b.agents.createAgent({ ...request, name: "other" }))).toMatchObject({
    reason: "REQUEST_ID_REUSED",
    metadata: { agent_id: agent?.agentId },
  });
});

test("the same request answers the first schedule, and with another body it is refused", async () => {
  const [a, b] = twoClients();
  const request = { requestId: "once", name: "yearly", cron: "@yearly", run: { handler: "nobody" } };
  const { schedule } = await a.schedules.createSchedule(request);
  expect((await b.schedules.createSchedule(request)).schedule).toEqual(schedule);
  expect(await refusal(b.schedules.createSchedule({ ...request, cron: "@daily" }))).toMatchObject({
    reason: "REQUEST_ID_REUSED",
    metadata: { schedule_id: schedule?.scheduleId },
  });
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
