import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Delta, DeltaSchema, type RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import { type Deltas, type DeltaSubscription, openDeltas } from "../../src/deltas/deltas.ts";
import type { DeltaView } from "../../src/deltas/delta-subjects.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";

let backend: TestBackend;
let deltas: Deltas;

beforeAll(async () => {
  backend = await openTestBackend();
  deltas = await open();
});

afterAll(async () => {
  await deltas[Symbol.asyncDispose]();
  await backend[Symbol.asyncDispose]();
});

const streamName = () => `DELTAS_${backend.prefix}`;
function open(): Promise<Deltas> {
  const { nats, prefix, logger: log } = backend;
  return openDeltas({ nats, stream: streamName(), prefix, log });
}

let runs = 0;
function newRun(roomId = "") {
  return { workspaceId: "ws_test", roomId, runId: `run_${++runs}`, attempt: 1, createTime: new Date() };
}

const texts = (...indexes: number[]): Delta[] =>
  indexes.map((index) => create(DeltaSchema, { stepKey: "answer", index, text: `${index} ` }));

/** Takes whatever comes. */
function collect(view: DeltaView, from = deltas) {
  const taken: RunDelta[] = [];
  const subscription: DeltaSubscription = from.subscribe(view, () => {
    for (let next = subscription.take(); next !== undefined; next = subscription.take()) taken.push(next);
  });
  return {
    taken,
    text: () => taken.map(({ delta }) => delta?.text).join(""),
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}

const kept = async () => (await backend.nats.jsm.streams.info(streamName())).state.messages;

describe("a subscriber", () => {
  test("of a run gets what is kept of it, then what comes, each once", async () => {
    const run = newRun();
    const before = await kept();
    for (let index = 0; index < 600; index++) deltas.publish(run, texts(index));
    await until(async () => (await kept()) === before + 600, { what: "everything to be kept" });
    using late = collect({ workspaceId: "ws_test", runId: run.runId });
    for (let index = 600; index < 700; index++) deltas.publish(run, texts(index));
    await until(() => late.text().endsWith("699 "), { what: "the last piece" });
    expect(late.text()).toBe(Array.from({ length: 700 }, (_, index) => `${index} `).join(""));
  });

  test("who comes at any moment of a busy run misses nothing and gets nothing twice", async () => {
    const run = newRun();
    const busy: ReturnType<typeof collect>[] = [];
    for (let index = 0; index < 800; index++) {
      deltas.publish(run, texts(index));
      if (index % 40 !== 0) continue;
      busy.push(collect({ workspaceId: "ws_test", runId: run.runId }));
      // So that the broker's answers come in between.
      await backend.nats.connection.flush();
    }
    await until(() => busy.every((each) => each.text().endsWith("799 ")), { what: "the last piece everywhere" });
    const whole = Array.from({ length: 800 }, (_, index) => `${index} `).join("");
    for (const each of busy) {
      expect(each.text()).toBe(whole);
      each[Symbol.dispose]();
    }
  });

  test("of a room or a workspace gets what comes, of its runs only", async () => {
    const [inRoom, elsewhere] = [newRun("room_1"), newRun("room_2")];
    using ofRoom = collect({ workspaceId: "ws_test", roomId: "room_1" });
    using ofWorkspace = collect({ workspaceId: "ws_test" });
    using ofStranger = collect({ workspaceId: "ws_other" });
    using ofRunInOtherRoom = collect({ workspaceId: "ws_test", roomId: "room_2", runId: inRoom.runId });
    await backend.nats.connection.flush();
    deltas.publish(inRoom, texts(0));
    deltas.publish(elsewhere, texts(7));
    deltas.publish({ ...newRun("room_1"), workspaceId: "ws_third" }, texts(9));
    await until(() => ofWorkspace.taken.length === 2, { what: "both pieces" });
    expect(ofWorkspace.text()).toBe("0 7 ");
    expect(ofRoom.text()).toBe("0 ");
    expect(ofStranger.taken).toEqual([]);
    expect(ofRunInOtherRoom.taken).toEqual([]);
  });

  test("who does not take anything costs no more than the bound of its queue", async () => {
    const run = newRun();
    using idle = deltas.subscribe({ workspaceId: "ws_test", runId: run.runId }, () => undefined);
    using brisk = collect({ workspaceId: "ws_test", runId: run.runId });
    for (let index = 0; index < 400; index++) {
      deltas.publish(run, [create(DeltaSchema, { stepKey: "a", index, text: "x".repeat(10_000) })]);
    }
    await until(() => brisk.taken.at(-1)?.delta?.index === 399, { what: "the last piece at the brisk reader" });
    let held = 0;
    for (let next = idle.take(); next !== undefined; next = idle.take()) held += next.delta?.text.length ?? 0;
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThanOrEqual(256 * 1024);
  });
});

test("output of another process of the installation is heard", async () => {
  await using other = await open();
  const run = newRun();
  using here = collect({ workspaceId: "ws_test", runId: run.runId });
  await backend.nats.connection.flush();
  other.publish(run, texts(0, 1));
  await until(() => here.text() === "0 1 ", { what: "the output" });
  expect(here.taken).toMatchObject([{ runId: run.runId, attempt: 1, joined: 1, delta: { index: 1 } }]);
});

test("when the broker has lost the stream it is made anew, and output is kept and heard again", async () => {
  const run = newRun();
  using before = collect({ workspaceId: "ws_test", runId: run.runId });
  deltas.publish(run, texts(0));
  await until(() => before.text() === "0 ", { what: "the first piece" });
  await backend.nats.jsm.streams.delete(streamName());
  await until(
    async () => {
      deltas.publish(run, texts(1));
      return backend.nats.jsm.streams.info(streamName()).then(
        () => true,
        () => false,
      );
    },
    { what: "the stream to be made anew" },
  );
  await backend.nats.jsm.streams.purge(streamName());
  await backend.nats.connection.reconnect();
  let index = 100;
  await until(
    () => {
      deltas.publish(run, texts(++index));
      return before.taken.some(({ delta }) => (delta?.index ?? 0) > 100);
    },
    { what: "output after the restart" },
  );
  using late = collect({ workspaceId: "ws_test", runId: run.runId });
  await until(() => late.taken.length > 0, { what: "what is kept after the restart" });
  expect(late.taken[0]?.delta?.index).toBeGreaterThan(100);
});

test("a stream that is configured otherwise is refused, and the setting named", async () => {
  const { nats, prefix, logger: log } = backend;
  const other = `OTHER_${prefix}`;
  await nats.jsm.streams.add({ name: other, subjects: [`${prefix}x.delta.>`] });
  await expect(openDeltas({ nats, stream: other, prefix: `${prefix}x`, log })).rejects.toThrow("storage is");
});
