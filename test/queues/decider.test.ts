import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { putQueue } from "../../src/queues/decider.ts";
import { evolveQueueState, type QueueState } from "../../src/queues/state.ts";

const absent: QueueState = { status: "absent" };
const settings = { maxRunning: 3, maxRunningPerKey: 1, rateLimit: { runs: 10, period: durationFromMs(60_000) } };
const reason = (name: string): unknown => expect.objectContaining({ reason: name });

const put = (state: QueueState, fields: MessageInitShape<typeof QueueSchema> = {}) =>
  putQueue(state, create(QueueSchema, { name: "night", ...fields }));

/** The state after a decision; `sequence` counts the queue's events. */
function after(state: QueueState, draft: Draft | undefined, sequence = 1n): QueueState {
  if (draft === undefined) throw new Error("nothing was decided");
  const event = create(EventSchema, {
    position: sequence * 10n,
    workspaceId: "ws_one",
    stream: { type: "queue", id: "night" },
    streamSequence: sequence,
    createTime: timestampFromDate(new Date(Number(sequence) * 1_000)),
    payload: draft.payload,
  });
  return evolveQueueState(state, event);
}

test("the first put creates the queue with every setting", () => {
  const state = after(absent, put(absent, settings));
  expect(state).toMatchObject({
    status: "present",
    queue: { ...settings, name: "night", workspaceId: "ws_one", held: false, etag: "1", position: 10n },
  });
});

test("a put sets all settings: what it leaves out is as it was never set", () => {
  const first = after(absent, put(absent, settings));
  const second = after(first, put(first, { held: true }), 2n);
  expect(second).toMatchObject({ queue: { held: true, maxRunning: 0, etag: "2" } });
  expect(second.status === "present" && second.queue.rateLimit).toBeUndefined();
});

test("the same settings once more change nothing, whatever the etag", () => {
  const state = after(absent, put(absent, settings));
  expect(put(state, settings)).toBeUndefined();
  expect(put(state, { ...settings, etag: "0" })).toBeUndefined();
});

test("a put with an etag is refused when the queue has changed since, or never was", () => {
  const state = after(absent, put(absent, settings));
  expect(put(state, { held: true, etag: "1" })).toBeDefined();
  expect(() => put(state, { held: true, etag: "0" })).toThrow(reason("ETAG_MISMATCH"));
  expect(() => put(absent, { held: true, etag: "1" })).toThrow(reason("ETAG_MISMATCH"));
});

test("what only the server says is no part of the event", () => {
  const draft = put(absent, { ...settings, workspaceId: "ws_two", queuedRuns: 7n, position: 9n });
  expect(draft?.payload.value).toMatchObject({ queue: { workspaceId: "", queuedRuns: 0n, position: 0n, etag: "" } });
});
