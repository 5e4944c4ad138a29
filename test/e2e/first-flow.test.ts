import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import {
  ListEventsRequestSchema,
  ListEventsResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";
import { openInstallation } from "../support/installation.ts";
import { endStreamFlag, postBinary, postJson, postStream, rawFields } from "./plain-http.ts";

const installation = await openInstallation({ workers: 1 });
afterAll(() => installation[Symbol.asyncDispose]());
const { url } = installation;

interface JsonRun {
  readonly runId: string;
  readonly status: string;
  readonly output?: unknown;
}
interface JsonEvent {
  readonly eventId: string;
  readonly type: string;
}

async function echoedRun(): Promise<string> {
  const created = await postJson<{ run: JsonRun }>(url, "RunService/CreateRun", {
    handler: "echo",
    input: { hello: "world" },
  });
  expect(created.status).toBe(200);
  const { runId } = created.body.run;
  expect(runId).toMatch(/^run_/);
  const waited = await postJson<{ run: JsonRun }>(url, "RunService/WaitRun", { runId });
  expect(waited.body.run).toMatchObject({ runId, status: "RUN_STATUS_SUCCEEDED", output: { hello: "world" } });
  return runId;
}

test("a run goes from create to done over plain JSON, and its events tell the whole story", async () => {
  const runId = await echoedRun();
  const { body } = await postJson<{ events: JsonEvent[] }>(url, "EventService/ListEvents", { filter: { runId } });
  expect(body).toMatchObject({ complete: true });
  expect(body.events.map(({ type }) => type)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

test("the id comes back at once, before any worker has looked at the run", async () => {
  const { body } = await postJson<{ run: JsonRun }>(url, "RunService/CreateRun", { handler: "nobody_has_this" });
  expect(body.run).toMatchObject({ status: "RUN_STATUS_QUEUED" });
});

test("polling and subscribing give the same events with the same bytes", async () => {
  const runId = await echoedRun();
  const filter = { runId };
  const page = await postBinary(
    url,
    "EventService/ListEvents",
    toBinary(ListEventsRequestSchema, create(ListEventsRequestSchema, { filter })),
  );
  const frames = await postStream(
    url,
    "EventService/Subscribe",
    "proto",
    toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { filter })),
  );
  const polled = rawFields(page, ListEventsResponseSchema.field.events.number);
  const pushed = frames
    .filter(({ flags }) => flags !== endStreamFlag)
    .flatMap(({ message }) => rawFields(message, SubscribeResponseSchema.field.event.number));
  expect(polled.map((bytes) => fromBinary(EventSchema, bytes).type)).toEqual([
    "run.created",
    "run.claimed",
    "run.succeeded",
  ]);
  expect(pushed.map(hex)).toEqual(polled.map(hex));
});

test("polling and subscribing give the same events in JSON", async () => {
  const runId = await echoedRun();
  const filter = { runId };
  const { body } = await postJson<{ events: JsonEvent[] }>(url, "EventService/ListEvents", { filter });
  const frames = await postStream(url, "EventService/Subscribe", "json", Buffer.from(JSON.stringify({ filter })));
  const messages = frames.map(({ message }) => JSON.parse(Buffer.from(message).toString()) as { event?: JsonEvent });
  expect(messages.flatMap(({ event }) => event ?? [])).toEqual(body.events);
  expect(messages[0]).toHaveProperty("ready.headPosition");
  // The end of the stream, without an error: a run that has ended has nothing more to say.
  expect(messages.at(-1)).toEqual({});
});

test("the hash chain of a run verifies with nothing but GetEvent", async () => {
  const runId = await echoedRun();
  const { body } = await postJson<{ events: JsonEvent[] }>(url, "EventService/ListEvents", { filter: { runId } });
  let previous = Buffer.alloc(32);
  for (const [index, { eventId }] of body.events.entries()) {
    const answer = await postJson<{ event: Record<string, string>; storedBytes: string }>(
      url,
      "EventService/GetEvent",
      {
        eventId,
      },
    );
    const { event, storedBytes } = answer.body;
    const hash = createHash("sha256").update(previous).update(Buffer.from(storedBytes, "base64")).digest();
    expect(event).toMatchObject({
      eventId,
      streamSequence: String(index + 1),
      prevHash: previous.toString("base64"),
      hash: hash.toString("base64"),
    });
    expectStored(fromBinary(EventSchema, Buffer.from(storedBytes, "base64")), event);
    previous = hash;
  }
  expect(body.events).toHaveLength(3);
});

/** The stored bytes are the event without what only the log can know. */
function expectStored(stored: Event, { type, correlationId }: Record<string, string>): void {
  expect(stored).toMatchObject({ type, correlationId, position: 0n, hash: new Uint8Array() });
}

test("the answer names the correlation id that the events carry", async () => {
  const headers = { "x-correlation-id": "first-flow-7" };
  const created = await postJson<{ run: JsonRun }>(url, "RunService/CreateRun", { handler: "echo" }, headers);
  expect(created.headers.get("x-correlation-id")).toBe("first-flow-7");
  const filter = { runId: created.body.run.runId, types: ["run.created"] };
  const { body } = await postJson<{ events: unknown[] }>(url, "EventService/ListEvents", { filter });
  expect(body.events).toMatchObject([{ correlationId: "first-flow-7" }]);
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
