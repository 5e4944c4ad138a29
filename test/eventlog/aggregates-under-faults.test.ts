import * as fc from "fast-check";
import { expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { StepStartedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import { createMemoryStore, type PublishFault } from "../../src/eventlog/memory-store.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { hasReason } from "../../src/kernel/errors.ts";
import { sleep } from "../../src/kernel/wait.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import { call, type Counter, createCounters, open } from "./counter.ts";
import { chainProblems } from "./history.ts";

/** One command of a client. */
interface Op {
  readonly server: number;
  readonly aggregate: number;
  /** `need` records nothing: it only wants the key to be taken. */
  readonly kind: "create" | "take" | "need" | "close";
  readonly key: string;
  readonly room: string;
  readonly startMs: number;
}

/** What a client knows of a command: when it was given and answered, in positions of the log, and how it went. */
interface Entry {
  readonly op: Op;
  readonly name: string;
  readonly headBefore: bigint;
  readonly headAfter: bigint;
  readonly outcome: "recorded" | "nothing" | "absent" | "missing" | "closed" | "contention" | "unknown";
  readonly position: bigint | undefined;
}

const opArbitrary: fc.Arbitrary<Op> = fc.record({
  server: fc.nat(2),
  aggregate: fc.nat(1),
  kind: fc.constantFrom("create", "take", "take", "take", "need", "close"),
  key: fc.constantFrom("a", "b", "c", "d"),
  room: fc.constantFrom("", "room_1", "room_2"),
  startMs: fc.nat(200),
});

const faultArbitrary = fc.constantFrom<(PublishFault | undefined)[]>(
  undefined,
  undefined,
  undefined,
  "stored_without_answer",
  "lost",
  "stored_late",
);

const scenario = fc.record({
  ops: fc.array(opArbitrary, { minLength: 2, maxLength: 16, size: "max" }),
  faults: fc.array(faultArbitrary, { minLength: 1, maxLength: 20, size: "max" }),
  delaysMs: fc.array(fc.nat(30), { minLength: 1, maxLength: 20, size: "max" }),
  replicaLags: fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

/** The values of a list, over and over again. */
function cycle<T>(values: readonly T[]): () => T {
  let next = 0;
  return () => values[next++ % values.length] as T;
}

/** A store whose questions and answers take their time. */
function slow(store: LogStore, delayMs: () => number): LogStore {
  const late =
    <A extends unknown[], R>(fn: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await sleep(delayMs());
      const result = await fn(...args);
      await sleep(delayMs());
      return result;
    };
  return {
    ...store,
    publish: late(store.publish),
    last: late(store.last),
    next: late(store.next),
    batch: late(store.batch),
  };
}

function decide({ kind, key }: Op, name: string): (state: Counter) => Draft | undefined {
  if (kind === "create") return open;
  const wanted = kind === "close" ? "close" : key;
  return ({ exists, keys }) => {
    if (keys.includes(wanted)) return undefined;
    if (!exists) throw new Error("absent");
    if (kind === "need") throw new Error("missing");
    if (keys.includes("close")) throw new Error("closed");
    const value = create(StepStartedSchema, { key: wanted, name });
    return { payload: { case: "stepStarted", value }, zone: Zone.SANDBOX };
  };
}

function outcomeOf(error: unknown): Entry["outcome"] {
  if (hasReason(error, "STORE_UNAVAILABLE")) return "unknown";
  if (hasReason(error, "CONTENTION")) return "contention";
  const message = error instanceof Error ? error.message : "";
  if (message === "absent" || message === "missing" || message === "closed") return message;
  throw error;
}

const faultsFired = new Set<string>();
const outcomesSeen = new Set<string>();

async function play({ ops, faults, delaysMs, replicaLags }: Scenario) {
  const nextFault = cycle(faults);
  const fault = () => {
    const fired = nextFault();
    if (fired) faultsFired.add(fired);
    return fired;
  };
  const store = createMemoryStore({ fault, replicaLag: cycle(replicaLags) });
  const log = createEventLog(slow(store, cycle(delaysMs)), createSubjects());
  const servers = [createCounters(log), createCounters(log), createCounters(log)];

  async function perform(op: Op, index: number): Promise<Entry> {
    await sleep(op.startMs);
    const name = `op_${index}`;
    const headBefore = (await store.bounds()).head;
    const command = {
      call,
      id: `run_${op.aggregate}`,
      decide: decide(op, name),
      ...(op.kind === "create" ? { creation: { roomId: op.room, repeatable: true } } : {}),
    };
    const result = await servers[op.server]!.execute(command).then(
      ({ recorded }) => ({
        outcome: recorded ? ("recorded" as const) : ("nothing" as const),
        position: recorded?.position,
      }),
      (error: unknown) => ({ outcome: outcomeOf(error), position: undefined }),
    );
    outcomesSeen.add(result.outcome);
    return { op, name, headBefore, headAfter: (await store.bounds()).head, ...result };
  }

  const history = await Promise.all(ops.map(perform));
  // Whatever is late arrives before the log is judged.
  await sleep(1_000);
  const plain = createEventLog(store, createSubjects());
  const records = await Array.fromAsync(plain.read(plain.subjects.all, 0n, (await store.bounds()).head));
  return { history, records };
}

function keyOf({ event }: EventRecord): string {
  return event.payload.case === "stepStarted" ? event.payload.value.key : "create";
}

function wantedKey({ kind, key }: Op): string {
  return kind === "take" || kind === "need" ? key : kind;
}

/** What is wrong with one answer, given what the log came to be. */
function answerProblems(
  { op, name, outcome, position, headBefore, headAfter }: Entry,
  records: EventRecord[],
): string[] {
  const own = records.filter(({ event }) => event.payload.case === "stepStarted" && event.payload.value.name === name);
  const ofAggregate = records.filter(({ event }) => event.stream?.id === `run_${op.aggregate}`);
  const known = (key: string, upTo: bigint) => ofAggregate.some((item) => keyOf(item) === key && item.position <= upTo);
  const holds = (() => {
    switch (outcome) {
      case "recorded":
        // I1: once; I2: at a position between question and answer.
        return (
          records.filter((record) => record.position === position).length === 1 &&
          (op.kind === "create" || (own.length === 1 && own[0]?.position === position)) &&
          position! > headBefore &&
          position! <= headAfter
        );
      case "nothing":
        return own.length === 0 && known(wantedKey(op), headAfter);
      case "absent":
        return own.length === 0 && !known("create", headBefore);
      case "missing":
        return own.length === 0 && !known(wantedKey(op), headBefore);
      case "closed":
        return own.length === 0 && known("close", headAfter);
      case "contention":
        return own.length === 0;
      case "unknown":
        return own.length <= 1;
    }
  })();
  return holds ? [] : [`${name} ${op.kind} was answered ${outcome} ${position ?? ""}`];
}

test("no fault of the broker makes servers lose, repeat, reorder or fork anything, or answer wrongly", async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async (given) => {
      const { history, records } = await inVirtualTime(() => play(given));
      expect(chainProblems(records)).toEqual([]);
      expect(history.flatMap((entry) => answerProblems(entry, records))).toEqual([]);
    }),
    { numRuns: 10_000 },
  );
  // A run in which nothing went wrong would have proved nothing.
  expect(faultsFired).toEqual(new Set(["stored_without_answer", "lost", "stored_late"]));
  expect(outcomesSeen).toEqual(new Set(["recorded", "nothing", "absent", "missing", "closed", "unknown"]));
});
