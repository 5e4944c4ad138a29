import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunSucceededSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { openJetStreamStore } from "../../src/eventlog/jetstream-store.ts";
import { openNats } from "../../src/eventlog/nats.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { openStack } from "../../src/stack/stack.ts";
import { sleep } from "../../src/kernel/wait.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend?.[Symbol.asyncDispose]());

const runId = () => `run_${randomUUID()}`;

/** Follows the log in the background. */
function follow(log: EventLog, from: bigint) {
  const stop = new AbortController();
  const seen: bigint[] = [];
  const done = (async () => {
    for await (const { position } of log.tail(from, stop.signal)) seen.push(position);
  })();
  return {
    seen,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  };
}

function upTo(head: bigint, from = 0n): bigint[] {
  return Array.from({ length: Number(head - from) }, (_, i) => from + 1n + BigInt(i));
}

test("a repeated message id with a stale expectation is answered with the first record", async () => {
  const { store, log } = backend;
  const publication = createAppender(log).publication({ id: runId() });
  const first = await store.publish(publication);
  expect(first).toMatchObject({ status: "stored" });
  // Some servers look at the id first, others at the expectation (10071).
  expect([first, { status: "conflict" }]).toContainEqual(await store.publish(publication));
  const stored = await log.last(publication.subject);
  expect((await log.append(publication))?.position).toBe(stored?.position);
});

test("a tail goes on when its consumer is deleted", async () => {
  const { log, nats, stream } = backend;
  const appender = createAppender(log);
  const from = (await log.bounds()).head;
  await using tail = follow(log, from);
  await appender.append({ id: runId() });
  await until(() => tail.seen.length === 1, { what: "the first event" });

  const consumers: string[] = [];
  for await (const { name } of nats.jsm.consumers.list(stream)) consumers.push(name);
  expect(consumers).toHaveLength(1);
  for (const name of consumers) await nats.jsm.consumers.delete(stream, name);
  for (let i = 0; i < 5; i++) await appender.append({ id: runId() });
  await until(() => tail.seen.length === 6, { what: "the events after the deletion", timeoutMs: 25_000 });
  expect(tail.seen).toEqual(upTo(from + 6n, from));
});

test("a tail ends whenever it is stopped, even while it is being opened", async () => {
  const { log } = backend;
  let ended = 0;
  for (let delay = 0; delay < 20; delay++) {
    const tail = follow(log, 0n);
    await sleep(delay / 4);
    await tail[Symbol.asyncDispose]();
    ended++;
  }
  expect(ended).toBe(20);
});

test("a tail and its appender go on when the server was killed and started again", { timeout: 60_000 }, async () => {
  const logger = pino({ level: "silent" });
  await using folder = await temporaryFolder();
  const onFatal = (error: Error) => expect.unreachable(error.message);
  const databaseUrl = "postgres://elsewhere/db";
  await using stack = await openStack({ dataDir: folder.path, durability: "fsync", databaseUrl, log: logger, onFatal });
  await using nats = await openNats({ url: stack.natsUrl, name: "test", log: logger });
  const subjects = createSubjects();
  const options = { nats, stream: "EVENTS", allSubjects: subjects.all, replicas: 1, log: logger };
  const log = createEventLog(await openJetStreamStore(options), subjects);
  await using tail = follow(log, 0n);
  const appender = createAppender(log);
  for (let i = 0; i < 5; i++) await appender.append({ id: "run_before" });
  await until(() => tail.seen.length === 5, { what: "the events before the kill" });

  const pid = async () => Number(await readFile(join(folder.path, "nats", "server.pid"), "utf8"));
  const killed = await pid();
  process.kill(killed, "SIGKILL");
  await until(async () => (await pid()) !== killed, { what: "a restart" });
  for (let i = 0; i < 5; i++) {
    // One publication until it is stored: repeats of it must not add up.
    const publication = appender.publication({ id: `run_after_${i}` });
    await until(() => log.append(publication).catch(() => undefined), { what: "an append", timeoutMs: 30_000 });
  }
  await until(() => tail.seen.length === 10, { what: "the events after the restart", timeoutMs: 30_000 });
  expect(tail.seen).toEqual(upTo(10n));
  expect(await log.bounds()).toEqual({ earliest: 1n, head: 10n });
});

test("large events are read back, several to a batch", async () => {
  const { log } = backend;
  const appender = createAppender(log);
  const stream = { id: runId() };
  await appender.append(stream);
  const output = create(ValueSchema, { kind: { case: "stringValue", value: "x".repeat(3_000_000) } });
  for (let i = 0; i < 4; i++) {
    await appender.append(stream, { case: "runSucceeded", value: create(RunSucceededSchema, { output }) });
  }
  const filter = log.subjects.of({ workspaceId: "ws_test", type: "run", id: stream.id }, "");
  const sizes: number[] = [];
  for await (const { body } of log.read(filter, 0n, (await log.bounds()).head)) sizes.push(body.length);
  expect(sizes.slice(1)).toEqual(Array.from({ length: 4 }, () => sizes[1]));
  expect(sizes[1]).toBeGreaterThan(3_000_000);
});

test("an event that the broker refuses for good is STORE_UNAVAILABLE and not stored", async () => {
  const { nats, prefix, logger } = backend;
  const stream = `SMALL_${prefix}`;
  const subjects = createSubjects(`small${prefix}`);
  const store = await openJetStreamStore({ nats, stream, allSubjects: subjects.all, replicas: 1, log: logger });
  await nats.jsm.streams.update(stream, { max_msg_size: 10 });
  const log = createEventLog(store, subjects);
  const publication = createAppender(log).publication({ id: runId() });
  await expect(log.append(publication)).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
    message: "the event log refused it (JetStream error 10054), repeat with backoff; the server's log says why",
  });
  expect(await log.last(publication.subject)).toBeUndefined();
  expect(log.trouble()).toContain("JetStream error 10054");
  await nats.jsm.streams.update(stream, { max_msg_size: -1 });
  await log.append(publication);
  expect(log.trouble()).toBeUndefined();
});

test("a stream with other settings is an error that names them, and stays as it is", async () => {
  const { nats, prefix, logger } = backend;
  const stream = `OTHER_${prefix}`;
  const allSubjects = `other${prefix}.evt.>`;
  await nats.jsm.streams.add({ name: stream, subjects: [allSubjects], max_msgs_per_subject: 3 });
  const before = (await nats.jsm.streams.info(stream)).config;
  const opening = openJetStreamStore({ nats, stream, allSubjects, replicas: 1, log: logger });
  await expect(opening).rejects.toMatchObject({
    reason: "STORE_UNAVAILABLE",
    message: expect.stringMatching(/max_msgs_per_subject is 3, needed -1.*nats stream edit OTHER_/s) as string,
  });
  expect((await nats.jsm.streams.info(stream)).config).toEqual(before);
});

test("a stream that is there already with the right settings is used", async () => {
  const { nats, stream, log, logger } = backend;
  const record = await createAppender(log).append({ id: runId() });
  const again = await openJetStreamStore({ nats, stream, allSubjects: log.subjects.all, replicas: 1, log: logger });
  expect((await again.last(record.subject))?.position).toBe(record.position);
});

test("events can be neither deleted nor purged", async () => {
  const { nats, stream, log } = backend;
  const { position } = await createAppender(log).append({ id: runId() });
  await expect(nats.jsm.streams.deleteMessage(stream, Number(position))).rejects.toThrow(/delete not permitted/);
  await expect(nats.jsm.streams.purge(stream)).rejects.toThrow(/purge not permitted/);
});
