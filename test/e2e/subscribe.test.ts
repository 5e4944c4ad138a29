import { once } from "node:events";
import { connect } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type SubscribeResponse, SubscribeResponseSchema } from "../../gen/signalbox/v1/event_service_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createAndClaim } from "./claims.ts";
import { readEnvelopes } from "./plain-http.ts";
import { polled, subscribed, texts } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2, heartbeatMs: 200 });
afterAll(() => installation[Symbol.asyncDispose]());
const [first, second] = installation.servers;

function newWorkspace() {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId }) };
}

const types = (events: readonly Event[]) => events.map(({ type }) => type);
const createRuns = (client: SignalboxClient, count: number, request = { handler: "nobody" }) =>
  Promise.all(Array.from({ length: count }, () => client.runs.createRun(request)));

describe("a subscription sees", () => {
  test("of a room what happens to its runs, and nothing else", async () => {
    const { client } = newWorkspace();
    const stranger = newWorkspace().client;
    await using subscription = await subscribed(client, { filter: { roomId: "room_1" } });
    const { run } = await client.runs.createRun({ handler: "nobody", roomId: "room_1" });
    await client.runs.createRun({ handler: "nobody", roomId: "room_2" });
    await client.runs.createRun({ handler: "nobody", roomId: "room_11" });
    await client.runs.createRun({ handler: "nobody" });
    await stranger.runs.createRun({ handler: "nobody", roomId: "room_1" });
    await client.agents.createAgent({ name: "planner" });
    const last = await client.runs.cancelRun({ runId: run?.runId ?? "" });
    await until(() => subscription.events.at(-1)?.position === last.position, { what: "the end of the run" });
    expect(subscription.events.map(({ type, stream }) => [type, stream?.id])).toEqual([
      ["run.created", run?.runId],
      ["run.canceled", run?.runId],
    ]);
    const { events } = await client.events.listEvents({ filter: { roomId: "room_1" }, minPosition: last.position });
    expect(texts(subscription.events)).toEqual(texts(events));
  });

  test("of a run in a room nothing but its end when the run is in another one", async () => {
    const { client } = newWorkspace();
    const { run } = await client.runs.createRun({ handler: "nobody", roomId: "room_1" });
    const filter = { runId: run?.runId ?? "", roomId: "room_2" };
    await using subscription = await subscribed(client, { filter });
    await client.runs.cancelRun({ runId: run?.runId ?? "" });
    expect(await subscription.ended).toBeUndefined();
    expect(subscription.events).toEqual([]);
    expect(await client.events.listEvents({ filter })).toMatchObject({ events: [], complete: true });
  });

  test("of a workspace everything", async () => {
    const { client } = newWorkspace();
    await client.agents.createAgent({ name: "planner" });
    await using subscription = await subscribed(client);
    await client.runs.createRun({ handler: "nobody", roomId: "room_1" });
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.startStep({ leaseToken, key: "a" });
    await client.runs.cancelRun({ runId: run.runId });
    const all = ["agent.created", "run.created", "run.created", "run.claimed", "step.started", "run.canceled"];
    await until(() => subscription.events.length >= all.length, { what: "all events" });
    expect(types(subscription.events)).toEqual(all);
    expect(texts(subscription.events)).toEqual(texts(await polled(client)));
  });

  test.each([
    [["run.created"], ["run.created", "run.created"]],
    [["run.*"], ["run.created", "run.created", "run.claimed", "run.succeeded"]],
    [
      ["step.*", "tool_call.*"],
      ["step.started", "tool_call.started"],
    ],
    [
      ["agent.*", "run.succeeded"],
      ["agent.created", "run.succeeded"],
    ],
    [["tool_call.failed"], []],
  ])("of the types %j those only", async (wanted, expected) => {
    const { client } = newWorkspace();
    await using live = await subscribed(client, { filter: { types: wanted } });
    await client.agents.createAgent({ name: "planner" });
    await client.runs.createRun({ handler: "nobody" });
    const { leaseToken } = await createAndClaim(client);
    await client.engine.startStep({ leaseToken, key: "a" });
    await client.engine.startToolCall({ leaseToken, key: "a", tool: "t", effect: ToolEffect.READ });
    const { position: minPosition } = await client.engine.completeRun({ leaseToken });
    await until(() => heartbeatPosition(live.frames) >= minPosition, { what: "a heartbeat behind the last event" });
    expect(types(live.events)).toEqual(expected);
    const { events } = await client.events.listEvents({ filter: { types: wanted }, minPosition });
    expect(texts(events)).toEqual(texts(live.events));
  });

  test("what one call set in motion, and what happened in a span of time", async () => {
    const { client } = newWorkspace();
    const headers = { "x-correlation-id": "trip-7" };
    await client.runs.createRun({ handler: "nobody" });
    const { run, position: minPosition } = await client.runs.createRun({ handler: "nobody" }, { headers });
    const filters = [
      { correlationId: "trip-7" },
      { correlationId: "trip-7", startTime: run!.createTime!, actorId: "local" },
    ];
    for (const filter of filters) {
      const { events } = await client.events.listEvents({ filter, minPosition });
      await using replayed = await subscribed(client, { filter });
      await until(() => replayed.events.length > 0, { what: "the event" });
      expect(texts(replayed.events)).toEqual(texts(events));
      expect(events).toMatchObject([{ correlationId: "trip-7", position: minPosition }]);
    }
    const none = { filter: { correlationId: "trip-7", endTime: run!.createTime! }, minPosition };
    expect((await client.events.listEvents(none)).events).toEqual([]);
  });
});

/** What the newest heartbeat covers; 0 before the first. */
function heartbeatPosition(frames: readonly SubscribeResponse["frame"][]): bigint {
  const last = frames.findLast(({ case: kind }) => kind === "heartbeat");
  return last?.case === "heartbeat" ? last.value.headPosition : 0n;
}

test("resuming again and again at one server and the other, while 200 runs are created, leaves no gap and repeats nothing", async () => {
  const { workspaceId, client } = newWorkspace();
  const clients = [first, second].map((server) => installation.client({ baseUrl: server!.url, workspaceId }));
  let created = false;
  const creating = (async () => {
    for (let batch = 0; batch < 20; batch++) await createRuns(clients[batch % 2]!, 10);
    created = true;
  })();
  const seen: Event[] = [];
  for (let turn = 0; !created || seen.length < 200; turn++) {
    const fromPosition = seen.at(-1)?.position ?? 0n;
    const wanted = seen.length + 7;
    await using part = await subscribed(clients[turn % 2]!, { fromPosition });
    await until(() => created || seen.length + part.events.length >= wanted, { what: "some more events" });
    if (created) await until(() => seen.length + part.events.length >= 200, { what: "the rest" });
    seen.push(...part.events);
  }
  await creating;
  expect(seen).toHaveLength(200);
  expect(texts(seen)).toEqual(texts(await polled(client)));
});

describe("heartbeats", () => {
  test("come while nothing happens, and name a position that resuming from is exact", async () => {
    const { client } = newWorkspace();
    const filter = { types: ["run.canceled"] };
    await using idle = await subscribed(client, { filter });
    const { run, position } = await client.runs.createRun({ handler: "nobody" });
    await until(() => heartbeatPosition(idle.frames) >= position, { what: "a heartbeat behind events not wanted" });
    const fromPosition = heartbeatPosition(idle.frames);
    expect(idle.events).toEqual([]);
    const canceled = await client.runs.cancelRun({ runId: run?.runId ?? "" });
    await using resumed = await subscribed(client, { filter, fromPosition });
    await until(() => resumed.events.length > 0, { what: "the event after the heartbeat" });
    expect(resumed.events).toMatchObject([{ type: "run.canceled", position: canceled.position }]);
  });

  test("move on with what others do, and resuming from them is exact all the same", async () => {
    const { client } = newWorkspace();
    const stranger = newWorkspace().client;
    await using idle = await subscribed(client);
    const { position } = await stranger.runs.createRun({ handler: "nobody" });
    await until(() => heartbeatPosition(idle.frames) >= position, { what: "a heartbeat behind another's event" });
    const fromPosition = heartbeatPosition(idle.frames);
    const created = await client.runs.createRun({ handler: "nobody" });
    await using resumed = await subscribed(client, { fromPosition });
    await until(() => resumed.events.length > 0, { what: "the event after the heartbeat" });
    expect(resumed.events).toMatchObject([{ type: "run.created", position: created.position }]);
  });

  test("come after all that they cover", async () => {
    const { client } = newWorkspace();
    await using subscription = await subscribed(client);
    for (let round = 0; round < 5; round++) {
      await createRuns(client, 10);
      const beats = () => subscription.frames.filter(({ case: kind }) => kind === "heartbeat").length;
      const before = beats();
      await until(() => beats() > before, { what: "a heartbeat" });
    }
    const late = subscription.frames.filter(
      (frame, index) =>
        frame.case === "event" && frame.value.position <= heartbeatPosition(subscription.frames.slice(0, index)),
    );
    expect(late).toEqual([]);
    expect(subscription.events).toHaveLength(50);
  });
});

describe("the subscription of a run", () => {
  test("closes when the run ends", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    await using live = await subscribed(client, { filter: { runId: run.runId } });
    await client.engine.completeRun({ leaseToken, output: jsonValue("done") });
    expect(await live.ended).toBeUndefined();
    expect(types(live.events)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
  });

  test("replays and closes when the run has ended before", async () => {
    const { client } = newWorkspace();
    const { run } = await client.runs.createRun({ handler: "nobody" });
    const filter = { runId: run?.runId ?? "" };
    const { position } = await client.runs.cancelRun(filter);
    await using whole = await subscribed(client, { filter });
    expect(await whole.ended).toBeUndefined();
    expect(types(whole.events)).toEqual(["run.created", "run.canceled"]);
    await using nothing = await subscribed(client, { filter, fromPosition: position });
    expect(await nothing.ended).toBeUndefined();
    expect(nothing.frames.map(({ case: kind }) => kind)).toEqual(["ready"]);
  });

  test("closes also when the filter does not keep the event that ends it", async () => {
    const { client } = newWorkspace();
    const { run } = await client.runs.createRun({ handler: "nobody" });
    const runId = run?.runId ?? "";
    await using live = await subscribed(client, { filter: { runId, types: ["run.created"] } });
    await client.runs.cancelRun({ runId });
    expect(await live.ended).toBeUndefined();
    expect(types(live.events)).toEqual(["run.created"]);
  });
});

test("polling a run is complete only when it has ended and everything was returned", async () => {
  const { client } = newWorkspace();
  const { run } = await client.runs.createRun({ handler: "nobody" });
  const filter = { runId: run?.runId ?? "" };
  const open = await client.events.listEvents({ filter });
  expect(open).toMatchObject({ events: [{ type: "run.created" }], complete: false });
  await client.runs.cancelRun(filter);
  const part = await client.events.listEvents({ filter, pageSize: 1 });
  expect(part).toMatchObject({ events: [{ type: "run.created" }], complete: false });
  const rest = await client.events.listEvents({ filter, pageSize: 1, afterPosition: part.nextPosition });
  expect(rest).toMatchObject({ events: [{ type: "run.canceled" }], complete: true });
  const after = await client.events.listEvents({ filter, afterPosition: rest.nextPosition });
  expect(after).toMatchObject({ events: [], complete: true, nextPosition: rest.nextPosition });
});

test("who does not read for a while holds nobody up and gets everything afterwards", async () => {
  const { client, workspaceId } = newWorkspace();
  // By hand: the client of Connect reads ahead, however slow its caller is.
  const connection = connect(installation.url);
  const slow = connection.request({
    ":method": "POST",
    ":path": "/signalbox.v1.EventService/Subscribe",
    "content-type": "application/connect+proto",
    "x-workspace-id": workspaceId,
  });
  slow.end(Buffer.alloc(5));
  await once(slow, "response");
  await using brisk = await subscribed(client);
  const input = jsonValue("x".repeat(100_000));
  for (let batch = 0; batch < 8; batch++) {
    await Promise.all(Array.from({ length: 10 }, () => client.runs.createRun({ handler: "nobody", input })));
  }
  await until(() => brisk.events.length === 80, { what: "all events at the brisk reader" });
  // Some lie in sockets, most wait in the log.
  expect(slow.readableLength).toBeLessThan(1_000_000);
  const positions: bigint[] = [];
  for await (const { message } of readEnvelopes(slow)) {
    const { frame } = fromBinary(SubscribeResponseSchema, message);
    if (frame.case === "event") positions.push(frame.value.position);
    if (positions.length === 80) break;
  }
  connection.destroy();
  expect(positions).toEqual(brisk.events.map(({ position }) => position));
});

test("a hundred subscribers on two connections get the same", async () => {
  const { client, workspaceId } = newWorkspace();
  const clients = [client, installation.client({ workspaceId })];
  await using subscriptions = new AsyncDisposableStack();
  const all = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => subscriptions.use(await subscribed(clients[n % 2]!))),
  );
  await createRuns(client, 20);
  await until(() => all.every(({ events }) => events.length === 20), { what: "all events everywhere" });
  const expected = texts(await polled(client));
  for (const { events } of all) expect(texts(events)).toEqual(expected);
});
