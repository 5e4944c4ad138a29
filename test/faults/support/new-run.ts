import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { OnExhausted } from "../../../gen/signalbox/v1/run_pb.ts";
import { type JsonValue, jsonValue } from "../../../src/client/client.ts";
import type { Seeded } from "../../support/seeded.ts";

/** The queue of a fault run that is limited, and its limits. */
export const narrowQueue = { name: "narrow", maxRunning: 3, maxRunningPerKey: 2 };

/** What becomes of a run of the load. */
interface Kind {
  readonly handler: string;
  readonly input: JsonValue;
  /** Attempts before it is paused; 0 for so many that it never gives up. */
  readonly pausesAfter?: number;
  /** Attempts before it fails. */
  readonly failsAfter?: number;
  readonly maxDurationMs?: number;
  readonly priority?: number;
  /** Nobody does what it waits for: it is to be found waiting, or paused, when all is over. */
  readonly parked?: boolean;
}

/** A run of some kind: one that works, waits for something, has children, fails first, gives up, or is overdue. */
export function newRun(random: Seeded, requestId: string) {
  const kind = random.pick(kinds)(random);
  const { handler, input, pausesAfter = 0, failsAfter = 0, maxDurationMs = 0, priority = 0, parked = false } = kind;
  return {
    requestId,
    handler,
    input: jsonValue(input),
    roomId: random.pick(["", "room_a", "room_b"]),
    labels: { kind: parked ? "parked" : handler },
    queue: random.oneIn(3) ? narrowQueue.name : "default",
    concurrencyKey: random.pick(["", "a", "b"]),
    priority,
    retryPolicy: {
      maxAttempts: pausesAfter || failsAfter || 50,
      initialBackoff: durationFromMs(50),
      maxBackoff: durationFromMs(200),
      onExhausted: pausesAfter > 0 ? OnExhausted.PAUSE : OnExhausted.FAIL,
    },
    ...(maxDurationMs > 0 ? { maxDuration: durationFromMs(maxDurationMs) } : {}),
  };
}

/** A request of the load. */
export type NewRun = ReturnType<typeof newRun>;

/** True when nobody does what the run waits for. */
export const isParked = ({ labels }: NewRun): boolean => labels.kind === "parked";

const children = (count: number, handler: string, input: JsonValue): Kind => ({
  handler: "children",
  input: { count, handler, input },
});

/** The more often a kind stands here, the more of it there are. */
const kinds: readonly ((random: Seeded) => Kind)[] = [
  (random) => ({ handler: "echo", input: random.below(1_000), priority: random.pick([0, 0, 5]) }),
  (random) => ({ handler: "steps", input: { count: 1 + random.below(4) } }),
  (random) => ({ handler: "steps", input: { count: 1 + random.below(4) } }),
  (random) => ({ handler: "flaky", input: { failures: 1 + random.below(2) } }),
  (random) => ({ handler: "work", input: { ms: random.below(250) } }),
  (random) => ({ handler: "sleep", input: { ms: 50 + random.below(400) } }),
  (random) => ({ handler: "sleep", input: { ms: 50 + random.below(400) } }),
  (random) => children(1 + random.below(3), random.pick(["echo", "sleep"]), { ms: random.below(200) }),
  (random) => children(1 + random.below(3), "steps", { count: 2 }),
  () => children(2, "children", { count: 2, handler: "echo" }),
  () => ({ handler: "wait", input: {} }),
  () => ({ handler: "wait", input: {} }),
  (random) => ({ handler: "stumble", input: { failures: 1 + random.below(2) }, pausesAfter: 1 }),
  (random) => random.pick(ends)(random),
];

/** Of these there are few. */
const ends: readonly ((random: Seeded) => Kind)[] = [
  () => ({ handler: "flaky", input: { failures: 9 }, failsAfter: 2 }),
  () => ({ handler: "sleep", input: { ms: 60_000 }, maxDurationMs: 300 }),
  () => ({ ...children(2, "sleep", { ms: 60_000 }), maxDurationMs: 500 }),
  () => ({ handler: "wait", input: {}, parked: true }),
  () => ({ ...children(2, "sleep", { ms: 200 }), parked: true }),
];
