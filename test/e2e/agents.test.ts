import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });

async function createAgent(client: SignalboxClient, request: { handler?: string; zone?: Zone } = {}) {
  const { agent } = await client.agents.createAgent({ name: "planner", ...request });
  if (agent === undefined) throw new Error("CreateAgent answered without an agent");
  return agent;
}

function pause(client: SignalboxClient, agentId: string, status: AgentStatus = AgentStatus.PAUSED) {
  return client.agents.updateAgent({ agent: { agentId, status }, updateMask: { paths: ["status"] } });
}

test("a run of an agent goes to the agent's handler, in its zone and with its limits", async () => {
  const client = newClient();
  const limits = { maxDuration: { seconds: 60n }, retryPolicy: { maxAttempts: 7 } };
  const { agent } = await client.agents.createAgent({
    name: "planner",
    handler: "by_hand",
    zone: Zone.SUPERVISED,
    limits,
  });
  const agentId = agent?.agentId ?? "";
  await client.runs.createRun({ agentId });
  const { run } = await claim(client, "by_hand");
  expect(run).toMatchObject({ agentId, handler: "by_hand", zone: Zone.SUPERVISED, retryPolicy: { maxAttempts: 7 } });
  expect(run.deadlineTime).toBeDefined();
});

test("a paused agent refuses runs until it is active again", async () => {
  const client = newClient();
  const { agentId } = await createAgent(client);
  await pause(client, agentId);
  expect(await refusal(client.runs.createRun({ agentId }))).toMatchObject({
    code: Code.FailedPrecondition,
    reason: "INVALID_STATE",
    metadata: { status: "PAUSED" },
  });
  await pause(client, agentId, AgentStatus.ACTIVE);
  expect(await client.runs.createRun({ agentId })).toMatchObject({ run: { agentId, status: RunStatus.QUEUED } });
});

test("an archived agent refuses runs and changes for good, and its runs go on", async () => {
  const client = newClient();
  const { agentId } = await createAgent(client, { handler: "by_hand" });
  const { run } = await client.runs.createRun({ agentId });
  const archived = await client.agents.archiveAgent({ agentId });
  expect(archived.agent).toMatchObject({ status: AgentStatus.ARCHIVED });
  expect(await client.agents.archiveAgent({ agentId })).toEqual(archived);
  expect(await refusal(client.runs.createRun({ agentId }))).toMatchObject({
    reason: "INVALID_STATE",
    metadata: { status: "ARCHIVED" },
  });
  expect(await refusal(pause(client, agentId))).toMatchObject({ reason: "INVALID_STATE" });
  const claimed = await claim(client, "by_hand");
  expect(claimed.run.runId).toBe(run?.runId);
  await client.engine.completeRun({ leaseToken: claimed.leaseToken });
});

test("an update takes the fields of the mask, and no others", async () => {
  const client = newClient();
  const before = await createAgent(client, { handler: "by_hand" });
  const { agentId } = before;
  const wanted = { agentId, model: "large", handler: "other", name: "renamed" };
  const { agent } = await client.agents.updateAgent({ agent: wanted, updateMask: { paths: ["model"] } });
  expect(agent).toMatchObject({ model: "large", handler: "by_hand", name: "planner" });
  expect(agent?.etag).not.toBe(before.etag);
  expect((await client.agents.getAgent({ agentId })).agent).toEqual(agent);
});

test("of two updates with one etag, one is refused and changes nothing", async () => {
  const client = newClient();
  const { agentId, etag } = await createAgent(client);
  const update = (name: string) =>
    client.agents.updateAgent({ agent: { agentId, name, etag }, updateMask: { paths: ["name"] } });
  const outcomes = await Promise.allSettled([update("one"), update("two")]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  const { agent } = await client.agents.getAgent({ agentId });
  const winner = outcomes[0].status === "fulfilled" ? "one" : "two";
  expect(agent?.name).toBe(winner);
  expect(await refusal(update("three"))).toMatchObject({
    code: Code.Aborted,
    reason: "ETAG_MISMATCH",
    metadata: { etag: agent?.etag },
  });
  expect((await update(winner)).agent).toEqual(agent);
});

test("an update without an etag overwrites", async () => {
  const client = newClient();
  const { agentId } = await createAgent(client);
  for (const name of ["one", "two"]) {
    const { agent } = await client.agents.updateAgent({ agent: { agentId, name }, updateMask: { paths: ["name"] } });
    expect(agent?.name).toBe(name);
  }
});

test.each([
  ["a field that is the server's", ["create_time"]],
  ["part of a field", ["limits.max_duration"]],
  ["nothing", []],
])("an update mask with %s is refused", async (_name, paths) => {
  const client = newClient();
  const { agentId } = await createAgent(client);
  const call = client.agents.updateAgent({ agent: { agentId, name: "x" }, updateMask: { paths } });
  expect(await refusal(call)).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
});

test("agents are listed newest first, by status, page by page", async () => {
  const client = newClient();
  const agents = [await createAgent(client), await createAgent(client), await createAgent(client)];
  const [first] = agents;
  const { position: minPosition } = await pause(client, first?.agentId ?? "");
  const page = await client.agents.listAgents({ minPosition, pageSize: 2 });
  const rest = await client.agents.listAgents({ minPosition, pageSize: 2, pageToken: page.nextPageToken });
  expect([...page.agents, ...rest.agents].map(({ agentId }) => agentId)).toEqual(
    agents.map(({ agentId }) => agentId).toReversed(),
  );
  expect(rest.nextPageToken).toBe("");
  const paused = await client.agents.listAgents({ minPosition, statuses: [AgentStatus.PAUSED] });
  expect(paused.agents.map(({ agentId }) => agentId)).toEqual([first?.agentId]);
});

test("agents are listed by the preset they were made from and by handler", async () => {
  const client = newClient();
  const created = await Promise.all(
    [
      { name: "a", preset: "assistant_basic" },
      { name: "b", preset: "assistant_rag", handler: "rag" },
      { name: "c", handler: "rag" },
    ].map((request) => client.agents.createAgent(request)),
  );
  const change = { agentId: created[0]?.agent?.agentId ?? "", handler: "other" };
  const { position: minPosition } = await client.agents.updateAgent({
    agent: change,
    updateMask: { paths: ["handler"] },
  });
  const names = async (filter: { preset?: string; handler?: string }) =>
    (await client.agents.listAgents({ minPosition, ...filter })).agents.map(({ name }) => name).toSorted();
  expect(await names({ preset: "assistant_basic" })).toEqual(["a"]);
  expect(await names({ handler: "rag" })).toEqual(["b", "c"]);
  expect(await names({ preset: "assistant_rag", handler: "rag" })).toEqual(["b"]);
  expect(await names({ handler: "agent" })).toEqual([]);
  expect(await names({ handler: "other" })).toEqual(["a"]);
});

test("an agent keeps its memory, its schemas and every limit", async () => {
  const client = newClient();
  const settings = {
    memory: { sessionHistory: true, compactAfterTokens: 8_000, keepTurns: 2 },
    inputSchema: { type: "object", properties: { topic: { type: "string" } }, required: ["topic"] },
    outputSchema: { type: "string" },
    limits: { budget: { maxTokens: 1_000n, maxActiveTime: { seconds: 60n } }, maxRunning: 3, maxTurns: 8 },
  };
  const { agent } = await client.agents.createAgent({ name: "planner", ...settings });
  expect(agent).toMatchObject(settings);
  const agentId = agent?.agentId ?? "";
  const paths = ["memory", "input_schema", "output_schema"];
  const wanted = { agentId, memory: { sessionHistory: true }, inputSchema: { type: "string" } };
  const updated = await client.agents.updateAgent({ agent: wanted, updateMask: { paths } });
  expect(updated.agent).toMatchObject({
    ...wanted,
    memory: { sessionHistory: true, keepTurns: 4 },
    limits: settings.limits,
  });
  expect(updated.agent?.outputSchema).toBeUndefined();
  const listed = await client.agents.listAgents({ minPosition: updated.position });
  expect(listed.agents).toEqual([updated.agent]);
});

test("a schema beyond 256 KiB is refused", async () => {
  const client = newClient();
  const inputSchema = { description: "x".repeat(256 * 1024) };
  expect(await refusal(client.agents.createAgent({ name: "planner", inputSchema }))).toMatchObject({
    code: Code.ResourceExhausted,
    reason: "PAYLOAD_TOO_LARGE",
    metadata: { limit: "262144" },
  });
});

test("the record of an agent tells its life", async () => {
  const client = newClient();
  const { agentId } = await createAgent(client);
  await pause(client, agentId);
  const { position: minPosition } = await client.agents.archiveAgent({ agentId });
  const { events } = await client.events.listEvents({
    filter: { stream: { type: "agent", id: agentId } },
    minPosition,
  });
  expect(events.map(({ type }) => type)).toEqual(["agent.created", "agent.updated", "agent.archived"]);
  expect(events.map(({ streamSequence }) => streamSequence)).toEqual([1n, 2n, 3n]);
});
