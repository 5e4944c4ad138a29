import { once } from "node:events";
import { connect } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createConnectTransport as createBrowserTransport } from "@connectrpc/connect-web";
import { afterAll, describe, expect, test } from "vitest";
import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import {
  SubscribeRequestSchema,
  type SubscribeResponse,
  SubscribeResponseSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";
import { follow, jsonValue, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { readEnvelopes } from "./plain-http.ts";
import { refusal } from "./refusal.ts";
import { subscribed } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2, heartbeatMs: 200 });
afterAll(() => installation[Symbol.asyncDispose]());
const [first, second] = installation.servers;

function newWorkspace(baseUrl = first!.url) {
  const workspaceId = newWorkspaceId();
  return { workspaceId, client: installation.client({ workspaceId, baseUrl }) };
}

const words = ["The ", "signal ", "is ", "red", "."];
const deltas = (from = 0, to = words.length) =>
  words.slice(from, to).map((text, offset) => ({ stepKey: "answer", index: from + offset, text }));

function deltasOf(frames: readonly SubscribeResponse["frame"][]): RunDelta[] {
  return frames.flatMap((frame) => (frame.case === "delta" ? [frame.value] : []));
}

const textOf = (pieces: readonly RunDelta[]) => pieces.map(({ delta }) => delta?.text).join("");
const shown = ({ frames }: { frames: readonly SubscribeResponse["frame"][] }) => textOf(deltasOf(frames));

describe("output is shown while it is made", () => {
  test("to a subscriber of the run at any server, before what is recorded, and its end closes the stream", async () => {
    const { client, workspaceId } = newWorkspace();
    const other = installation.client({ workspaceId, baseUrl: second!.url });
    const { run, leaseToken } = await createAndClaim(client);
    const filter = { runId: run.runId };
    await using here = await subscribed(client, { filter, includeDeltas: true });
    await using there = await subscribed(other, { filter, includeDeltas: true });
    for (const delta of deltas()) await client.engine.publishDeltas({ leaseToken, deltas: [delta] });
    const progress = { stepKey: "progress", index: 0, text: "", data: jsonValue({ done: 0.5 }) };
    await client.engine.publishDeltas({ leaseToken, deltas: [progress] });
    for (const subscription of [here, there]) {
      await until(() => deltasOf(subscription.frames).at(-1)?.delta?.data, { what: "the output" });
      expect(shown(subscription)).toBe("The signal is red.");
      const [piece] = deltasOf(subscription.frames);
      expect(piece).toMatchObject({ runId: run.runId, attempt: 1, delta: { stepKey: "answer" } });
      expect(piece?.createTime).toBeDefined();
      expect(valueToJson(deltasOf(subscription.frames).at(-1)?.delta?.data)).toEqual({ done: 0.5 });
    }
    await client.engine.completeRun({ leaseToken });
    expect(await here.ended).toBeUndefined();
    expect(await there.ended).toBeUndefined();
    expect(here.events.map(({ type }) => type)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
  });

  test("to who comes late, joined, and then what follows", async () => {
    const { client } = newWorkspace();
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.publishDeltas({ leaseToken, deltas: deltas(0, 2) });
    await client.engine.publishDeltas({ leaseToken, deltas: deltas(2, 3) });
    await using late = await subscribed(client, { filter: { runId: run.runId }, includeDeltas: true });
    await until(() => shown(late) === "The signal is ", { what: "what was made before" });
    await client.engine.publishDeltas({ leaseToken, deltas: deltas(3) });
    await until(() => shown(late).endsWith("."), { what: "the rest" });
    expect(shown(late)).toBe("The signal is red.");
  });

  test("to subscribers of its room and its workspace, and to nobody else", async () => {
    const { client } = newWorkspace();
    const stranger = newWorkspace().client;
    await client.runs.createRun({ handler: "by_hand", roomId: "room_1" });
    const { run, leaseToken } = await claim(client, "by_hand");
    const subscriptions = await Promise.all([
      subscribed(client, { includeDeltas: true }),
      subscribed(client, { filter: { roomId: "room_1" }, includeDeltas: true }),
      subscribed(client, { filter: { roomId: "room_1", runId: run.runId, types: ["run.*"] }, includeDeltas: true }),
      subscribed(client),
      subscribed(client, { filter: { roomId: "room_2" }, includeDeltas: true }),
      subscribed(client, { filter: { roomId: "room_2", runId: run.runId }, includeDeltas: true }),
      subscribed(client, { filter: { stream: { type: "agent", id: "agt_1" } }, includeDeltas: true }),
      subscribed(stranger, { includeDeltas: true }),
    ]);
    await using open = new AsyncDisposableStack();
    for (const subscription of subscriptions) open.use(subscription);
    await client.engine.publishDeltas({ leaseToken, deltas: deltas() });
    const others = subscriptions.slice(3);
    for (const each of subscriptions.slice(0, 3)) {
      await until(() => shown(each) === "The signal is red.", { what: "the output" });
    }
    // Their next heartbeat comes after anything that was on its way.
    for (const { frames } of others) {
      const before = frames.length;
      await until(() => frames.slice(before).some(({ case: kind }) => kind === "heartbeat"), { what: "a heartbeat" });
      expect(deltasOf(frames)).toEqual([]);
    }
  });

  test("to follow(), which goes on after a restart of the server without showing anything twice", async () => {
    const { client, workspaceId } = newWorkspace(second!.url);
    const worker = installation.client({ workspaceId });
    const { run, leaseToken } = await createAndClaim(worker);
    const pieces: RunDelta[] = [];
    const retries: unknown[] = [];
    const seen: string[] = [];
    const options = {
      filter: { runId: run.runId },
      onDelta: (delta: RunDelta) => void pieces.push(delta),
      onRetry: (error: unknown) => void retries.push(error),
    };
    const following = (async () => {
      for await (const { type } of follow(client, options)) seen.push(type);
    })();
    await until(() => seen.length === 2, { what: "the events on record" });
    await worker.engine.publishDeltas({ leaseToken, deltas: deltas(0, 2) });
    await until(() => textOf(pieces) === "The signal ", { what: "the beginning" });
    await second!.stop();
    await until(() => retries.length > 0, { what: "the break" });
    await worker.engine.publishDeltas({ leaseToken, deltas: [{ stepKey: "other", index: 0, text: "while away" }] });
    await second!.start();
    await until(() => pieces.some(({ delta }) => delta?.stepKey === "other"), { what: "what was made meanwhile" });
    await worker.engine.publishDeltas({ leaseToken, deltas: deltas(2) });
    const answer = () => textOf(pieces.filter(({ delta }) => delta?.stepKey === "answer"));
    await until(() => answer() === "The signal is red.", { what: "the rest" });
    await worker.engine.completeRun({ leaseToken });
    await following;
    expect(answer()).toBe("The signal is red.");
  });
});

describe("the wire carries it", () => {
  const baseUrl = installation.url;
  test.each([
    ["gRPC", createGrpcTransport({ baseUrl })],
    ["gRPC with JSON", createGrpcTransport({ baseUrl, useBinaryFormat: false })],
    ["Connect with JSON", createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false })],
    ["Connect", createConnectTransport({ baseUrl, httpVersion: "2" })],
    ["the transport of browsers", createBrowserTransport({ baseUrl })],
  ])("over %s", async (_name, transport) => {
    const client = installation.client({ transport, workspaceId: newWorkspaceId() });
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.publishDeltas({ leaseToken, deltas: deltas() });
    await using subscription = await subscribed(client, { filter: { runId: run.runId }, includeDeltas: true });
    await until(() => shown(subscription) === "The signal is red.", { what: "the output" });
    expect(deltasOf(subscription.frames)).toMatchObject([{ joined: 4, delta: { index: 4 } }]);
  });
});

describe("is refused", () => {
  test("without the lease", async () => {
    const { client } = newWorkspace();
    const { leaseToken } = await createAndClaim(client);
    await client.engine.publishDeltas({ leaseToken, deltas: deltas() });
    await client.engine.releaseRun({ leaseToken });
    const late = client.engine.publishDeltas({ leaseToken, deltas: deltas() });
    expect(await refusal(late)).toMatchObject({ code: Code.FailedPrecondition, reason: "LEASE_LOST" });
  });

  test("when it is too large, or nested too deeply", async () => {
    const { client } = newWorkspace();
    const { leaseToken } = await createAndClaim(client);
    const text = "x".repeat(60_000);
    const large = Array.from({ length: 5 }, (_, index) => ({ stepKey: "a", index, text }));
    const refused = client.engine.publishDeltas({ leaseToken, deltas: large });
    expect(await refusal(refused)).toMatchObject({ code: Code.ResourceExhausted, reason: "PAYLOAD_TOO_LARGE" });
    await client.engine.publishDeltas({ leaseToken, deltas: large.slice(1) });
    const nested = jsonValue(Array.from({ length: 32 }).reduce((inner: unknown) => [inner], 1));
    const data = create(ValueSchema, { kind: { case: "listValue", value: { values: [nested] } } });
    const deep = client.engine.publishDeltas({ leaseToken, deltas: [{ stepKey: "a", data }] });
    expect(await refusal(deep)).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    const none = client.engine.publishDeltas({ leaseToken, deltas: [] });
    expect(await refusal(none)).toMatchObject({ code: Code.InvalidArgument });
  });
});

test("who does not read costs little, holds nobody up, and still gets every event; the oldest output is lost to it", async () => {
  const { client, workspaceId } = newWorkspace();
  const { run, leaseToken } = await createAndClaim(client);
  const filter = { runId: run.runId };
  const connection = connect(installation.url);
  const slow = connection.request({
    ":method": "POST",
    ":path": "/signalbox.v1.EventService/Subscribe",
    "content-type": "application/connect+proto",
    "x-workspace-id": workspaceId,
  });
  const request = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { filter, includeDeltas: true }));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  slow.end(Buffer.concat([head, request]));
  await once(slow, "response");
  await using brisk = await subscribed(client, { filter, includeDeltas: true });
  const pieces = 800;
  const text = "x".repeat(50_000);
  for (let index = 0; index < pieces; index += 4) {
    const four = [0, 1, 2, 3].map((offset) => ({ stepKey: "a", index: index + offset, text }));
    await client.engine.publishDeltas({ leaseToken, deltas: four });
    if (index % 100 === 0) await client.engine.startStep({ leaseToken, key: `step ${index}` });
  }
  await until(() => deltasOf(brisk.frames).at(-1)?.delta?.index === pieces - 1, {
    what: "the last piece at the brisk one",
  });
  const { position } = await client.engine.completeRun({ leaseToken });
  expect(await brisk.ended).toBeUndefined();
  expect(slow.readableLength).toBeLessThan(1_000_000);
  const positions: bigint[] = [];
  let deltaBytes = 0;
  for await (const { message, flags } of readEnvelopes(slow)) {
    if (flags !== 0) break;
    const { frame } = fromBinary(SubscribeResponseSchema, message);
    if (frame.case === "event") positions.push(frame.value.position);
    if (frame.case === "delta") deltaBytes += frame.value.delta?.text.length ?? 0;
  }
  connection.destroy();
  expect(positions).toEqual(brisk.events.map((event) => event.position));
  expect(positions.at(-1)).toBe(position);
  // 40 MB were made; what it got lay in sockets and in its queue.
  expect(deltaBytes).toBeLessThan(5_000_000);
});

test("a subscription that asks for none gets none", async () => {
  const { client } = newWorkspace();
  const { run, leaseToken } = await createAndClaim(client);
  await using plain = await subscribed(client, { filter: { runId: run.runId } });
  await using asking = await subscribed(client, { filter: { runId: run.runId }, includeDeltas: true });
  await client.engine.publishDeltas({ leaseToken, deltas: deltas() });
  await until(() => shown(asking) === "The signal is red.", { what: "the output" });
  await client.engine.completeRun({ leaseToken });
  expect(await plain.ended).toBeUndefined();
  expect(plain.frames.filter(({ case: kind }) => kind === "delta")).toEqual([]);
});
