import { afterAll, describe, expect, test } from "vitest";
import { AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { RunStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, valueToJson } from "../../src/client/client.ts";
import { HandlerError } from "../../src/engine/handler-error.ts";
import { claim } from "../e2e/claims.ts";
import { reasonFor } from "../e2e/refusal.ts";
import { headPosition, subscribed } from "../e2e/subscribed.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { addAgent, addPeople, createRoom, messagesOf, newWorkspace, say, type Workspace } from "./people.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

/** What was asked, as an agent's handler gets it. */
interface Asked {
  readonly text: string;
  readonly author: string;
}

const asked = (input: unknown) => input as Asked;

/** A worker of the workspace, whose handlers say what they are told to. */
function work({ workspaceId }: Workspace, handlers: Record<string, (question: Asked) => string | { text: string }>) {
  return installation.worker({
    workspaceId,
    handlers: Object.fromEntries(
      Object.entries(handlers).map(([name, answer]) => [
        name,
        async (_ctx: unknown, input: unknown) => answer(asked(input)),
      ]),
    ),
  });
}

async function untilSaid(workspace: Workspace, roomId: string, count: number) {
  const alice = workspace.as("alice");
  const all = () => messagesOf(alice, roomId);
  await until(async () => (await all()).length >= count, { what: `${count} messages`, timeoutMs: 20_000 });
  return all();
}

test("3 people and 2 agents chat through mentions, and everybody knows what they have not read", async () => {
  const workspace = newWorkspace(installation);
  const [alice, bob, carol] = [workspace.as("alice"), workspace.as("bob"), workspace.as("carol")];
  const { roomId } = await createRoom(alice, { zone: Zone.SUPERVISED });
  await addPeople(alice, roomId, "bob", "carol");
  const planner = await addAgent(alice, roomId, "planner");
  const dispatcher = await addAgent(alice, roomId, "dispatcher");
  await using _worker = work(workspace, {
    planner: ({ text }) => (text.includes("plan") ? "@dispatcher is track 4 free? cc @bob" : "noted"),
    dispatcher: () => ({ text: "**free**, @bob" }),
  });
  const { thread } = await alice.rooms.createThread({ roomId, title: "Night" });
  const { threadId } = thread!;
  const question = await say(alice, roomId, "@planner please plan, @carol watches", threadId);
  const plannerRunId = question.mentions[0]?.runId ?? "";
  expect(question.mentions).toMatchObject([
    { handle: "planner", principal: { type: PrincipalType.AGENT, id: planner } },
    { handle: "carol", principal: { type: PrincipalType.USER, id: "carol" }, runId: "" },
  ]);
  const [, plan, free] = await untilSaid(workspace, roomId, 3);
  expect(plan).toMatchObject({
    text: "@dispatcher is track 4 free? cc @bob",
    threadId,
    replyToMessageId: question.messageId,
    runId: plannerRunId,
    mentionDepth: 1,
    createBy: { type: PrincipalType.AGENT, id: planner },
  });
  expect(free).toMatchObject({
    text: "**free**, @bob",
    threadId,
    replyToMessageId: plan?.messageId,
    runId: plan?.mentions[0]?.runId,
    mentionDepth: 2,
    createBy: { type: PrincipalType.AGENT, id: dispatcher },
  });
  expect(free?.createBy?.onBehalfOf.map(({ id }) => id)).toEqual(["signalbox", planner, "signalbox", "alice"]);
  const { run } = await alice.runs.getRun({ runId: plan?.mentions[0]?.runId ?? "" });
  expect(run).toMatchObject({
    roomId,
    threadId,
    messageId: plan?.messageId,
    zone: Zone.SUPERVISED,
    agentId: dispatcher,
  });
  const input = valueToJson(run?.input);
  expect(input).toEqual({ text: plan?.text, author: `agent:${planner}`, messageId: plan?.messageId, roomId, threadId });
  await say(bob, roomId, "thanks, `@planner`", threadId);
  const minPosition = await headPosition(alice);
  const counts = async (client: typeof alice) =>
    (await client.rooms.listUnread({ minPosition })).rooms.map(({ unreadCount, mentionCount }) => [
      unreadCount,
      mentionCount,
    ]);
  expect(await Promise.all([alice, bob, carol].map(counts))).toEqual([[[3n, 0n]], [[3n, 2n]], [[4n, 1n]]]);
  const { messageCount, runCount, runs } = await carol.rooms.getRoomChanges({ roomId, minPosition });
  expect({ messageCount, runCount }).toEqual({ messageCount: 4n, runCount: 2n });
  expect(runs.every(({ output }) => output === undefined)).toBe(true);
});

describe("a mention", () => {
  test("loop between two agents ends after 8 answers, and the record says so", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    await addAgent(alice, roomId, "ping");
    await addAgent(alice, roomId, "pong");
    await using _worker = work(workspace, { ping: () => "@pong your turn", pong: () => "@ping your turn" });
    await say(alice, roomId, "@ping begin");
    const said = await untilSaid(workspace, roomId, 9);
    expect(said.map(({ mentionDepth }) => mentionDepth)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(said.map(({ mentions }) => mentions[0]?.runId !== "")).toEqual([
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
    const { events } = await alice.events.listEvents({
      filter: { roomId, types: ["message.posted"] },
      minPosition: await headPosition(alice),
    });
    const refused = events.map(({ payload }) => payload.case === "messagePosted" && payload.value.mentionsRefused);
    expect(refused).toEqual([false, false, false, false, false, false, false, false, true]);
    const { runs } = await alice.runs.listRuns({ roomId, minPosition: await headPosition(alice) });
    expect(runs).toHaveLength(8);
  });

  test("in what an agent posts by itself creates no run", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    const [one] = [await addAgent(alice, roomId, "one"), await addAgent(alice, roomId, "two")];
    const agent = installation.client({
      workspaceId: workspace.workspaceId,
      onBehalfOf: [`agent:${one}`, "user:alice"],
    });
    const { messageId } = await say(alice, roomId, "hi");
    const own = await agent.rooms.postMessage({ roomId, text: "@two and @one", replyToMessageId: messageId });
    expect(own.message).toMatchObject({ mentions: [{ handle: "two", runId: "" }], mentionDepth: 1 });
  });

  test("of an agent that takes no runs is answered with why", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    const agentId = await addAgent(alice, roomId, "idle");
    await alice.agents.updateAgent({
      agent: { agentId, status: AgentStatus.PAUSED },
      updateMask: { paths: ["status"] },
    });
    const { mentions } = await say(alice, roomId, "@idle?");
    const [, answer] = await untilSaid(workspace, roomId, 2);
    expect(answer).toMatchObject({
      text: `The run could not be started: INVALID_STATE: agent ${agentId} is PAUSED and takes no new runs`,
      runId: mentions[0]?.runId,
      createBy: { type: PrincipalType.AGENT, id: agentId },
    });
  });

  test("runs in the stricter zone, of the room and of the agent", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice, { zone: Zone.SUPERVISED });
    const { agent } = await alice.agents.createAgent({ name: "careful", handler: "careful", zone: Zone.HIGH_STAKES });
    await alice.rooms.addRoomMember({ roomId, principal: { type: PrincipalType.AGENT, id: agent!.agentId } });
    await say(alice, roomId, "@careful");
    expect((await claim(alice, "careful")).run.zone).toBe(Zone.HIGH_STAKES);
  });
});

describe("the answer", () => {
  test("of a run that failed or was canceled is one line", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    await addAgent(alice, roomId, "clumsy");
    await addAgent(alice, roomId, "idle", "nobody");
    await using _worker = installation.worker({
      workspaceId: workspace.workspaceId,
      handlers: {
        clumsy: () => Promise.reject(new HandlerError("BROKEN", "it\nfell, @idle", { retryable: false })),
      },
    });
    await say(alice, roomId, "@clumsy");
    const [, failed] = await untilSaid(workspace, roomId, 2);
    expect(failed).toMatchObject({
      text: "The run failed: BROKEN: it fell, @idle",
      mentions: [{ handle: "idle", runId: "" }],
    });
    const { mentions } = await say(alice, roomId, "@idle");
    const runId = mentions[0]?.runId ?? "";
    await until(async () => (await alice.runs.getRun({ runId }).catch(() => ({ run: undefined }))).run, {
      what: "the run",
    });
    await alice.runs.cancelRun({ runId });
    expect((await untilSaid(workspace, roomId, 4)).at(-1)).toMatchObject({ text: "The run was canceled", runId });
  });

  test("of a run that somebody created for a message is posted too, by its handler", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    const { messageId } = await say(alice, roomId, "what is 6 * 7?");
    await alice.runs.createRun({ handler: "by_hand", messageId, roomId });
    const { run, leaseToken } = await claim(alice, "by_hand");
    await alice.engine.completeRun({ leaseToken, output: jsonValue({ answer: 42 }) });
    const [, answer] = await untilSaid(workspace, roomId, 2);
    expect(answer).toMatchObject({
      text: '```json\n{\n  "answer": 42\n}\n```',
      runId: run.runId,
      replyToMessageId: messageId,
      createBy: { type: PrincipalType.SERVICE, id: "handler:by_hand" },
    });
  });

  test("does not come into a room that was archived meanwhile", async () => {
    const workspace = newWorkspace(installation);
    const alice = workspace.as("alice");
    const { roomId } = await createRoom(alice);
    await addAgent(alice, roomId, "slow");
    await say(alice, roomId, "@slow");
    const { run, leaseToken } = await claim(alice, "slow");
    await alice.rooms.archiveRoom({ roomId });
    await alice.engine.completeRun({ leaseToken, output: jsonValue("late") });
    // Another room shows that answers are being posted.
    const other = await createRoom(alice);
    await addPeople(alice, other.roomId, "bob");
    await alice.rooms.addRoomMember({
      roomId: other.roomId,
      principal: { type: PrincipalType.AGENT, id: run.agentId },
    });
    await say(alice, other.roomId, "@slow");
    await alice.engine.completeRun({ leaseToken: (await claim(alice, "slow")).leaseToken, output: jsonValue("ok") });
    await untilSaid(workspace, other.roomId, 2);
    expect(await messagesOf(alice, roomId)).toHaveLength(1);
    expect((await alice.runs.getRun({ runId: run.runId })).run?.status).toBe(RunStatus.SUCCEEDED);
  });
});

test("an approval that a run in the room needs is in its feed, and among its changes without the payload", async () => {
  const alice = newWorkspace(installation).as("alice");
  const { roomId } = await createRoom(alice);
  await using feed = await subscribed(alice, { filter: { roomId, types: ["approval.*"] } });
  const { run } = await alice.runs.createRun({ handler: "by_hand", roomId });
  const { leaseToken } = await claim(alice, "by_hand");
  const write = { tool: "mail", effect: ToolEffect.EXTERNAL_WRITE, arguments: jsonValue({ to: "bob" }) };
  expect(await reasonFor(alice.engine.startToolCall({ leaseToken, key: "mail", ...write }))).toBe("APPROVAL_REQUIRED");
  await until(() => feed.events.length > 0, { what: "the approval in the feed" });
  expect(feed.events.map(({ type }) => type)).toEqual(["approval.requested"]);
  const minPosition = await headPosition(alice);
  const { approvals, approvalCount } = await alice.rooms.getRoomChanges({ roomId, afterPosition: 0n, minPosition });
  expect(approvals).toMatchObject([{ runId: run?.runId, roomId, action: { target: "" } }]);
  expect(approvals[0]?.payload).toBeUndefined();
  expect(approvalCount).toBe(1n);
});

test("the feed of a room holds everything in it in the order of the log: talk, runs, incidents", async () => {
  const workspace = newWorkspace(installation);
  const alice = workspace.as("alice");
  const { roomId } = await createRoom(alice);
  await using feed = await subscribed(alice, { filter: { roomId } });
  await addAgent(alice, roomId, "echo");
  await using _worker = work(workspace, { echo: ({ text }) => text });
  await say(alice, roomId, "@echo hello");
  await untilSaid(workspace, roomId, 2);
  const { incident } = await alice.incidents.openIncident({ title: "Smoke", roomId });
  const types = () => feed.events.map(({ type }) => type);
  await until(() => types().includes("incident.opened"), { what: "the incident in the feed" });
  expect(types()).toEqual([
    "room.created",
    "room.member_added",
    "message.posted",
    "run.created",
    "run.claimed",
    "run.succeeded",
    "message.posted",
    "incident.opened",
  ]);
  const listed = await alice.events.listEvents({ filter: { roomId }, minPosition: feed.events.at(-1)!.position });
  expect(listed.events.map(({ position }) => position)).toEqual(feed.events.map(({ position }) => position));
  const changes = await alice.rooms.getRoomChanges({
    roomId,
    afterPosition: 0n,
    minPosition: await headPosition(alice),
  });
  expect(changes).toMatchObject({
    messageCount: 2n,
    runCount: 1n,
    incidentCount: 1n,
    incidents: [{ incidentId: incident?.incidentId }],
  });
});
