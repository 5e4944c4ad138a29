import { createHash, randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { QueueUpdatedSchema } from "../../gen/signalbox/v1/queue_event_pb.ts";
import type { QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import {
  LeaseEndSchema,
  RunApprovalDecidedSchema,
  RunCanceledSchema,
  RunChildEndedSchema,
  RunClaimedSchema,
  RunCreatedSchema,
  RunMessageReceivedSchema,
  RunPausedSchema,
  RunPauseRequestedSchema,
  RunReleasedSchema,
  RunSucceededSchema,
  RunSuspendedSchema,
  RunWokenSchema,
  StepCompletedSchema,
  StepStartedSchema,
  ToolCallDeniedSchema,
  ToolCallGatedSchema,
  ToolCallStartedSchema,
  ToolCallSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { ChildRunsSchema, type WakeCondition, WakeConditionSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";
import { encodeBody, type StoredMessage } from "../../src/eventlog/record.ts";
import type { Operation } from "./history.ts";
import { checkInvariants, decodeLog, type Evidence } from "./invariants.ts";
import type { Note, Recording } from "./recorded-subscription.ts";

/** An event of a test: what it says, in which run, and the operation that wrote it. */
interface Told {
  readonly payload: EventPayload;
  /** The type of its stream, default `run`. */
  readonly stream?: string;
  readonly runId?: string;
  readonly by?: string;
}

const created = (by = "a"): Told => ({ by, payload: { case: "runCreated", value: create(RunCreatedSchema) } });
const claimed = (attempt: number, leaseId: string, lost?: string): Told => ({
  by: `claim-${leaseId}`,
  payload: {
    case: "runClaimed",
    value: create(RunClaimedSchema, { attempt, leaseId, ...(lost === undefined ? {} : { lost: { leaseId: lost } }) }),
  },
});
const succeeded = (leaseId: string): Told => ({
  by: `end-${leaseId}`,
  payload: { case: "runSucceeded", value: create(RunSucceededSchema, { lease: create(LeaseEndSchema, { leaseId }) }) },
});
const canceled = (): Told => ({ payload: { case: "runCanceled", value: create(RunCanceledSchema) } });
const stepStarted = (leaseId: string): Told => ({
  payload: { case: "stepStarted", value: create(StepStartedSchema, { leaseId, stepId: "step_1", key: "one" }) },
});
const stepCompleted = (leaseId: string): Told => ({
  payload: { case: "stepCompleted", value: create(StepCompletedSchema, { leaseId, stepId: "step_1" }) },
});

const suspended = (leaseId: string, afterNumber: number): Told => ({
  payload: {
    case: "runSuspended",
    value: create(RunSuspendedSchema, {
      lease: { leaseId },
      conditions: [{ condition: { case: "message", value: { afterNumber } } }],
    }),
  },
});
const said = (number: number): Told => ({
  payload: { case: "runMessageReceived", value: create(RunMessageReceivedSchema, { number }) },
});
const woken = (): Told => ({ payload: { case: "runWoken", value: create(RunWokenSchema) } });
const paused = (): Told => ({ payload: { case: "runPaused", value: create(RunPausedSchema) } });
const pauseRequested = (): Told => ({
  payload: { case: "runPauseRequested", value: create(RunPauseRequestedSchema) },
});

const gated = (leaseId: string, approvalId = "appr_1"): Told => ({
  payload: { case: "toolCallGated", value: create(ToolCallGatedSchema, { leaseId, toolCallId: "tc_1", approvalId }) },
});
const denied = (leaseId: string): Told => ({
  payload: { case: "toolCallDenied", value: create(ToolCallDeniedSchema, { leaseId, toolCallId: "tc_1" }) },
});
const callStarted = (leaseId: string): Told => ({
  payload: { case: "toolCallStarted", value: create(ToolCallStartedSchema, { leaseId, toolCallId: "tc_1" }) },
});
const callSucceeded = (leaseId: string): Told => ({
  payload: { case: "toolCallSucceeded", value: create(ToolCallSucceededSchema, { leaseId, toolCallId: "tc_1" }) },
});
const waitsForApproval = (leaseId: string): Told => ({
  payload: {
    case: "runSuspended",
    value: create(RunSuspendedSchema, {
      lease: { leaseId },
      conditions: [{ condition: { case: "approval", value: { approvalId: "appr_1" } } }],
    }),
  },
});
const decided = (): Told => ({
  payload: { case: "runApprovalDecided", value: create(RunApprovalDecidedSchema, { approvalId: "appr_1" }) },
});

/** A run that waits for an approval. */
const asking = [created(), claimed(1, "l1"), gated("l1"), waitsForApproval("l1")];

/** A run that waits for its first message. */
const waiting = [created(), claimed(1, "l1"), suspended("l1", 0)];

/** A run from beginning to end. */
const whole = [created(), claimed(1, "l1"), stepStarted("l1"), stepCompleted("l1"), succeeded("l1")];

/** The events as a log without fault stores them. */
function logOf(...told: readonly Told[]): StoredMessage[] {
  const heads = new Map<string, { sequence: bigint; hash: Uint8Array }>();
  return told.map(({ payload, runId = "run_1", by = "", stream = "run" }, index) => {
    const { sequence, hash: prevHash } = heads.get(runId) ?? { sequence: 0n, hash: new Uint8Array(32) };
    const body = encodeBody(
      create(EventSchema, {
        eventId: randomUUID(),
        workspaceId: "ws_1",
        roomId: "room_1",
        stream: { type: stream, id: runId },
        streamSequence: sequence + 1n,
        type: eventTypes[payload.case],
        correlationId: by,
        payload,
      }),
    );
    const hash = createHash("sha256").update(prevHash).update(body).digest();
    heads.set(runId, { sequence: sequence + 1n, hash });
    const subject = `sb.evt.0.ws_1.room_1.${stream}.${runId}`;
    return { position: BigInt(index) + 1n, subject, body, prevHash, hash };
  });
}

let clock = 0;

function operation(fields: Partial<Operation> & Pick<Operation, "id">): Operation {
  const t_invoke = ++clock;
  return {
    op: "CreateRun",
    args: { request_id: fields.id, body: "b" },
    t_invoke,
    t_done: ++clock,
    outcome: "ok",
    run_id: "run_1",
    position: "1",
    answer: "x",
    ...fields,
  };
}

/** What is wrong, as invariant and the beginning of the problem. */
function found(evidence: Partial<Evidence>): string[] {
  return checkInvariants({ log: [], operations: [], ...evidence }).map(
    ({ invariant, problem }) => `${invariant} ${problem}`,
  );
}

/** What a subscriber gets of the log, changed. */
function recorded(log: readonly StoredMessage[], change: (notes: Note[]) => Note[] = (notes) => notes): Recording[] {
  const notes = decodeLog(log).map(({ position, event, stored }): Note => {
    const hash = Buffer.from(stored.hash).toString("hex");
    return { note: "event", position: String(position), event_id: event.eventId, hash };
  });
  return [
    { subscriber: "s", wanted: { room_id: "room_1" }, notes: change([{ note: "connect", from: "0" }, ...notes]) },
  ];
}

const log = logOf(...whole);

test("a history in which everything is well breaks nothing", () => {
  const operations = [
    operation({ id: "a" }),
    operation({ id: "a2", args: { request_id: "a", body: "b" }, position: "2" }),
    operation({ id: "a3", args: { request_id: "a", body: "other" }, outcome: "fail", reason: "REQUEST_ID_REUSED" }),
    operation({ id: "lost", outcome: "unknown" }),
  ];
  expect(found({ log: logOf(...waiting, said(1), claimed(2, "l2"), succeeded("l2")) })).toEqual([]);
  const takenBack = [callStarted("l2"), gated("l2", ""), callStarted("l2"), callSucceeded("l2")];
  expect(found({ log: logOf(...asking, decided(), claimed(2, "l2"), ...takenBack, succeeded("l2")) })).toEqual([]);
  const healed = {
    leaseTtlMs: 1_000,
    tookMs: 3_000,
    settleTimeMs: 0,
    pendingJobs: 0,
    projectedPosition: 5n,
    unwell: [],
  };
  const least = { "CreateRun ok": 2, "CreateRun REQUEST_ID_REUSED": 1, "run.succeeded": 1 };
  const substance = { least, faults: { kill: 1 } };
  const readModels = { differences: [] };
  expect(found({ log, operations, recordings: recorded(log), readModels, healed, substance })).toEqual([]);
});

describe("I1", () => {
  test.each([
    {
      what: "an acknowledged event that is missing",
      log: [],
      was: operation({ id: "a" }),
      is: "position 1 is not that of",
    },
    {
      what: "a refused call that was recorded",
      log,
      was: operation({ id: "a", outcome: "fail" }),
      is: "was refused, but",
    },
    {
      what: "a call that was recorded twice",
      log: logOf(created("a"), { ...created("a"), runId: "run_2" }),
      was: operation({ id: "a", outcome: "unknown" }),
      is: "is recorded more than once",
    },
    {
      what: "an answer about another run",
      log,
      was: operation({ id: "a", run_id: "run_2" }),
      is: "position 1 is not that of",
    },
    {
      what: "a call that recorded something else",
      log,
      was: operation({ id: "claim-l1", outcome: "unknown" }),
      is: "recorded event 2",
    },
    {
      what: "a claim that was not told to the worker",
      log,
      was: { id: "claim-l1", op: "ClaimRun", args: {}, t_invoke: 1, t_done: 2, outcome: "ok" as const },
      is: "answered that there is no run",
    },
    {
      what: "a step that was acknowledged and is not there",
      log: logOf(...whole.slice(0, 3)),
      was: operation({ id: "s", op: "CompleteStep", args: { step_id: "step_1" }, position: "3" }),
      is: "was acknowledged, but there is no step.completed",
    },
  ])("reports $what", ({ log: stored, was, is }) => {
    expect(found({ log: stored, operations: [was] })).toContainEqual(expect.stringContaining(`I1 ${is}`));
  });
});

test("I2 reports an event before one that was acknowledged earlier", () => {
  const two = logOf(created("b"), { ...created("a"), runId: "run_2" });
  const operations = [operation({ id: "a", run_id: "run_2", position: "2" }), operation({ id: "b" })];
  expect(found({ log: two, operations })).toEqual([expect.stringContaining("I2 recorded event 1")]);
});

test("I2 reports an answer that is older than what was answered before", () => {
  const read = (id: string, position: string) => operation({ id, op: "GetRun", args: {}, position });
  expect(found({ log, operations: [read("r1", "3"), read("r2", "2")] })).toEqual([
    expect.stringContaining("I2 answered position 2, older than the 3"),
  ]);
});

describe("I3", () => {
  const changed = (index: number, change: Partial<StoredMessage>) => log.with(index, { ...log[index]!, ...change });
  test.each([
    { what: "a changed byte", log: changed(2, { body: log[2]!.body.with(5, 0x7a) }), is: "hash is not the SHA-256" },
    { what: "a broken chain", log: changed(2, { prevHash: new Uint8Array(32) }), is: "prev_hash is not" },
    { what: "a lost event", log: log.toSpliced(2, 1), is: "stream_sequence is 4 after 2" },
    { what: "a fork", log: log.toSpliced(3, 0, log[2]!), is: "stream_sequence is 3 after 3" },
    { what: "an event twice", log: [...log, { ...log[4]!, position: 6n }], is: "has the event_id of" },
    { what: "another subject", log: changed(1, { subject: "sb.evt.0.ws_1._.run.run_1" }), is: "is stored under" },
    { what: "positions out of order", log: changed(4, { position: 2n }), is: "comes after position 4" },
  ])("reports $what", ({ log: stored, is }) => {
    expect(found({ log: stored })).toContainEqual(expect.stringContaining(`I3 ${is}`));
  });
});

describe("I4", () => {
  const [first, claim] = whole as [Told, Told];
  test.each([
    { what: "a second end", told: [...whole, succeeded("l1")], is: "the run is ended, not running" },
    { what: "work after the end", told: [...whole, stepStarted("l1")], is: "the run is ended, not running" },
    { what: "an end by cancellation after the end", told: [...whole, canceled()], is: "the run is ended, not queued" },
    { what: "a run that begins twice", told: [first, first], is: "the run is queued, not absent" },
    { what: "work on a run that nobody holds", told: [first, stepStarted("l1")], is: "the run is queued, not running" },
    { what: "a step that is done twice", told: [...whole.slice(0, 4), stepStarted("l1")], is: "step_1 is completed" },
    { what: "attempts that are skipped", told: [first, claimed(2, "l1")], is: "is attempt 2 after 0" },
    { what: "an end of a waiting run by a worker", told: [...waiting, succeeded("l1")], is: "the run is waiting, not" },
    {
      what: "a waiting run that is claimed",
      told: [...waiting, claimed(2, "l2")],
      is: "the run is waiting, not queued",
    },
    {
      what: "a wait for what has happened already",
      told: [first, claim, said(1), suspended("l1", 0)],
      is: "waits for what has happened already",
    },
    {
      what: "a wait that goes on although it is over",
      told: [...waiting, said(1), woken()],
      is: "the run is queued, not waiting",
    },
    {
      what: "a wake-up by a time that nobody waits for",
      told: [...waiting, woken()],
      is: "wakes a run that waits for no",
    },
    {
      what: "a run that is claimed while it waits for people",
      told: [...asking, claimed(2, "l2")],
      is: "the run is waiting, not queued",
    },
    {
      what: "a wait for an approval that was decided already",
      told: [...asking.slice(0, 3), decided(), waitsForApproval("l1")],
      is: "waits for what has happened already",
    },
    {
      what: "a call that is started although it was denied",
      told: [...asking.slice(0, 3), denied("l1"), callStarted("l1")],
      is: "tc_1 is done, not absent",
    },
    {
      what: "a call that is held back although it has its end",
      told: [first, claim, callStarted("l1"), callSucceeded("l1"), gated("l1")],
      is: "tc_1 is done, not absent",
    },
    { what: "a message that is left out", told: [first, said(2)], is: "is message 2 of its thread after 0" },
    {
      what: "something new in a run that is to pause",
      told: [first, claim, pauseRequested(), stepStarted("l1")],
      is: "the run was asked to pause",
    },
    {
      what: "a running step that is forgotten",
      told: [first, claim, stepStarted("l1"), succeeded("l1")],
      is: "abandons steps",
    },
  ])("reports $what", ({ told, is }) => {
    expect(found({ log: logOf(...told) })).toContainEqual(expect.stringContaining(`I4 ${is}`));
  });
});

describe("I5", () => {
  const takenOver = [created(), claimed(1, "l1"), claimed(2, "l2", "l1")];
  test.each([
    { what: "a step of a worker that was fenced out", told: [...takenOver, stepStarted("l1")] },
    { what: "an end by a worker that was fenced out", told: [...takenOver, succeeded("l1")] },
    { what: "a claim that does not name the lease it ends", told: [created(), claimed(1, "l1"), claimed(2, "l2")] },
  ])("reports $what", ({ told }) => {
    expect(found({ log: logOf(...told) })).toContainEqual(expect.stringContaining("I5 "));
  });
});

test("I7 reports what differs between the read models and the log", () => {
  const differences = [{ table: "runs", key: "ws_1/run_1", kind: "changed" as const, columns: ["status"] }];
  expect(found({ readModels: { differences } })).toEqual(["I7 changed: status"]);
});

describe("I8", () => {
  const heartbeat: Note = { note: "heartbeat", head: "3" };
  const connect = (from: string): Note => ({ note: "connect", from });
  test.each<{ what: string; change: (notes: Note[]) => Note[]; is: string }>([
    { what: "a gap", change: (notes) => notes.toSpliced(2, 1), is: "before event 2" },
    { what: "an event twice", change: (notes) => notes.toSpliced(3, 0, notes[2]!), is: "again, or out of order" },
    {
      what: "wrong order",
      change: (notes) => [notes[0]!, notes[2]!, notes[1]!, ...notes.slice(3)],
      is: "again, or out of order",
    },
    { what: "an end that is missing", change: (notes) => notes.slice(0, -1), is: "the recording ends" },
    {
      what: "a gap where it was resumed",
      change: (notes) => [...notes.slice(0, 3), connect("2"), ...notes.slice(4)],
      is: "before event 3",
    },
    {
      what: "a false heartbeat",
      change: (notes) => notes.toSpliced(2, 0, heartbeat),
      is: "was told that nothing is missing up to 3",
    },
    {
      what: "other bytes",
      change: (notes) => notes.with(1, { ...notes[1]!, hash: "00" } as Note),
      is: "got other bytes",
    },
    { what: "a skip ahead", change: (notes) => [connect("3"), ...notes.slice(4)], is: "resumed from 3 without" },
  ])("reports $what", ({ change, is }) => {
    expect(found({ log, recordings: recorded(log, change) })).toContainEqual(
      expect.stringMatching(new RegExp(`I8 .*${is}`)),
    );
  });

  test("takes what comes again after resuming from further back", () => {
    const again = (notes: Note[]) => [...notes.slice(0, 4), connect("2"), ...notes.slice(3)];
    expect(found({ log, recordings: recorded(log, again) })).toEqual([]);
  });

  test("reports an event of another room", () => {
    const recordings = recorded(log).map((it) => ({ ...it, wanted: { room_id: "room_2" } }));
    expect(found({ log, recordings })).toContainEqual("I8 got position 1, which its view does not have");
  });
});

describe("I11", () => {
  const first = operation({ id: "a" });
  const again = { request_id: "a", body: "b" };
  test.each([
    { what: "another run", was: operation({ id: "a2", args: again, answer: "y" }), is: "got another answer" },
    {
      what: "another body that was accepted",
      was: operation({ id: "a2", args: { ...again, body: "c" } }),
      is: "has another body",
    },
    {
      what: "a refusal without reason",
      was: operation({ id: "a2", args: again, outcome: "fail", reason: "REQUEST_ID_REUSED" }),
      is: "was refused as reused",
    },
  ])("reports $what", ({ was, is }) => {
    expect(found({ log, operations: [first, was] })).toContainEqual(expect.stringContaining(`I11 ${is}`));
  });
});

/** How things stand when all is well and the log has one event. */
const settled = {
  leaseTtlMs: 1_000,
  tookMs: 0,
  settleTimeMs: 1_000,
  pendingJobs: 0,
  projectedPosition: 1n,
  unwell: [],
};

test("I13 reports everything that has not come to rest", () => {
  const healed = { ...settled, tookMs: 3_001, pendingJobs: 1, unwell: ["http://a"] };
  expect(found({ log: logOf(...whole.slice(0, 2)), healed })).toEqual([
    expect.stringContaining("I13 is running"),
    "I13 is at 1, the log at 2",
    "I13 has 1 jobs left",
    "I13 does not say that it is well",
    "I13 settled after 3001 ms, more than 3000 ms",
  ]);
});

describe("I13", () => {
  const childOf = (parentRunId: string, runId: string): Told => ({
    runId,
    payload: { case: "runCreated", value: create(RunCreatedSchema, { parentRunId }) },
  });
  const suspendedOn = (...conditions: WakeCondition["condition"][]): Told => ({
    payload: {
      case: "runSuspended",
      value: create(RunSuspendedSchema, {
        lease: { leaseId: "l1" },
        conditions: conditions.map((condition) => create(WakeConditionSchema, { condition })),
      }),
    },
  });
  const children = { case: "children", value: create(ChildRunsSchema, { runIds: ["run_2"] }) } as const;
  const childEnded: Told = {
    payload: { case: "runChildEnded", value: create(RunChildEndedSchema, { childRunId: "run_2" }) },
  };
  const at = (ms: number) => ({ case: "time", value: timestampFromMs(ms) }) as const;
  const begun = [created(), claimed(1, "l1"), childOf("run_1", "run_2")];
  const stuck = (...told: readonly Told[]) => {
    const healed = { ...settled, projectedPosition: BigInt(told.length) };
    return found({ log: logOf(...told), healed }).filter((line) => line.startsWith("I13"));
  };

  test("lets runs wait for what has not happened, and be paused", () => {
    expect(stuck(...waiting)).toEqual([]);
    expect(stuck(created(), claimed(1, "l1"), suspendedOn(at(1_001)))).toEqual([]);
    expect(stuck(created(), paused())).toEqual([]);
  });

  test("reports a time that was missed", () => {
    expect(stuck(created(), claimed(1, "l1"), suspendedOn(at(1_000)))).toEqual(["I13 waits for a time that has come"]);
  });

  test("reports the end of a child that its waiting parent was not told of", () => {
    const end = { ...canceled(), runId: "run_2" };
    expect(stuck(...begun, suspendedOn(children), end)).toEqual(["I13 waits for run_2, which has ended"]);
    expect(stuck(...begun, suspendedOn(children, at(2_000)), end, childEnded)).toEqual([
      expect.stringContaining("I13 is queued"),
    ]);
  });

  test("reports an open child of a parent that has ended", () => {
    const end: Told = {
      payload: { case: "runCanceled", value: create(RunCanceledSchema, { lease: { leaseId: "l1" } }) },
    };
    expect(stuck(...begun, end)).toContain("I13 is queued, though its parent has ended");
  });
});

test("I15 reports who is under a lease beyond the limits of a queue or a key, and nobody else", () => {
  const limited = (queue: MessageInitShape<typeof QueueSchema>): Told => ({
    stream: "queue",
    runId: "narrow",
    payload: { case: "queueUpdated", value: create(QueueUpdatedSchema, { queue }) },
  });
  const queued = (runId: string, concurrencyKey = ""): Told => ({
    runId,
    payload: { case: "runCreated", value: create(RunCreatedSchema, { queue: "narrow", concurrencyKey }) },
  });
  const taken = (runId: string): Told => ({ ...claimed(1, `l-${runId}`), runId });
  const given = (runId: string): Told => ({
    runId,
    payload: { case: "runReleased", value: create(RunReleasedSchema, { lease: { leaseId: `l-${runId}` } }) },
  });
  const over = (...told: readonly Told[]) => found({ log: logOf(...told) }).filter((line) => line.startsWith("I15"));
  const two = [queued("run_a", "k"), queued("run_b", "k"), taken("run_a")];
  expect(over(limited({ maxRunning: 1 }), ...two, given("run_a"), taken("run_b"))).toEqual([]);
  expect(over(limited({ maxRunning: 2 }), ...two, taken("run_b"))).toEqual([]);
  expect(over(limited({ maxRunning: 1 }), ...two, taken("run_b"))).toEqual([
    "I15 2 of queue narrow are running, of at most 1",
  ]);
  expect(over(limited({ maxRunningPerKey: 1 }), ...two, taken("run_b"))).toEqual([
    "I15 2 of key k are running, of at most 1",
  ]);
});

test("I14 reports what was too rare and a fault that was not felt", () => {
  const substance = { least: { "CreateRun ok": 1 }, faults: { "kill nats": 0 } };
  expect(found({ substance })).toEqual(["I14 0 times, at least 1 wanted", "I14 the fault was never felt"]);
});
