import { timestampMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { RunEndReason, RunStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { genesisHash } from "../../src/eventlog/record.ts";
import { cancelRun, expireRun } from "../../src/runs/decider.ts";
import { claimRun, completeRun, expireLease, failRun, releaseRun } from "../../src/runs/lease-decider.ts";
import { type LiveRun, runAggregate, type RunState } from "../../src/runs/state.ts";
import { completeStep, failStep } from "../../src/runs/step-decider.ts";
import { failToolCall, reconcileToolCall, succeedToolCall } from "../../src/runs/tool-call-decider.ts";
import { checkRuns } from "../support/invariants/runs.ts";
import {
  after,
  attempt,
  claim,
  created,
  type Decide,
  final,
  newRun,
  nothing,
  outcome,
  passing,
  ref,
  stepStarted,
  text,
  toolCallStarted,
} from "./scenario.ts";

const usage = undefined;

/** Who acts: the worker with the newest lease (0), or one whose lease is older by so many claims. */
const worker = fc.constantFrom(0, 0, 0, 0, 1, 2);
const id = fc.constantFrom("1", "2");
const output = fc.constantFrom("a", "b");
const error = fc.constantFrom(passing, passing, final);
const effect = fc.constantFrom(ToolEffect.READ, ToolEffect.EXTERNAL_WRITE);

/** A command; the number of its lease is known when it is given. A claim is given the next one. */
interface Command {
  readonly name: string;
  readonly worker: number | "next";
  readonly decide: (lease: string) => Decide;
}

/** What begins and goes on. */
const going: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ redelivered: fc.boolean(), ownJob: fc.boolean() }).map(({ redelivered, ownJob }): Command => ({
    name: "claim",
    worker: "next",
    decide: (lease) => (state, now) => {
      // Every message comes again sooner or later, that of the present lease too.
      const jobId = ownJob && state.status === "running" ? state.lease!.jobId : `job_${lease}`;
      return claimRun(state, claim(lease, { jobId, redelivered }), now);
    },
  })),
  by("start step", { id }, (lease, given) => stepStarted(lease, given.id)),
  by("complete step", { id, output }, (lease, given) => (state) => {
    return completeStep(state, ref(lease), { stepId: `step_${given.id}`, output: text(given.output), usage });
  }),
  by("fail step", { id }, (lease, given) => (state) => {
    return failStep(state, ref(lease), { stepId: `step_${given.id}`, error: passing, usage });
  }),
  by("start call", { call: id, effect, idempotent: fc.boolean() }, toolCallStarted),
  by("succeed call", { id, output }, (lease, given) => (state) => {
    return succeedToolCall(state, ref(lease), { toolCallId: `tc_${given.id}`, result: text(given.output), usage });
  }),
  by("fail call", { id }, (lease, given) => (state) => {
    return failToolCall(state, ref(lease), { toolCallId: `tc_${given.id}`, error: passing, usage });
  }),
  by("reconcile call", { id, output: fc.option(output) }, (lease, given) => (state) => {
    const result = given.output === null ? undefined : text(given.output);
    return reconcileToolCall(state, ref(lease), { toolCallId: `tc_${given.id}`, result, note: "" });
  }),
);

/** What ends a lease. */
const leaving: fc.Arbitrary<Command> = fc.oneof(
  by("lapse", {}, (lease) => (state) => expireLease(state, `lease_${lease}`)),
  by("release", {}, (lease) => (state, now) => releaseRun(state, ref(lease), "", 500, now)),
  by("fail", { error }, (lease, given) => (state, now) => failRun(state, ref(lease), given.error, now)),
);

/** What may end the run. */
const ending: fc.Arbitrary<Command> = fc.oneof(
  fc.constantFrom<Command>(
    { name: "create", worker: 0, decide: () => created() },
    { name: "cancel", worker: 0, decide: () => (state) => cancelRun(state, "run_1", "") },
    { name: "expire", worker: 0, decide: () => expireRun },
  ),
  by("complete", { output }, (lease, given) => (state) => completeRun(state, ref(lease), text(given.output))),
);

// Runs that end at once show little.
const command = fc.oneof(
  { weight: 20, arbitrary: going },
  { weight: 4, arbitrary: leaving },
  { weight: 1, arbitrary: ending },
);

function by<T>(
  name: string,
  given: { [K in keyof T]: fc.Arbitrary<T[K]> },
  decide: (lease: string, given: T) => Decide,
): fc.Arbitrary<Command> {
  return fc
    .tuple(worker, fc.record<T>(given))
    .map(([who, values]) => ({ name, worker: who, decide: (lease) => decide(lease, values) }));
}

const story = fc.record({
  maxAttempts: fc.integer({ min: 1, max: 4 }),
  deadlineSeconds: fc.constantFrom(undefined, undefined, 90n),
  // With the time that passes before each, in milliseconds.
  commands: fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 700, 31_000)), { maxLength: 60, size: "max" }),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

/** Plays the commands on a new run, each twice. `repeated` says which repeats did anything. */
function play({ maxAttempts, deadlineSeconds, commands }: Story) {
  const seconds = deadlineSeconds;
  const maxDuration = seconds && { $typeName: "google.protobuf.Duration" as const, seconds, nanos: 0 };
  const retryPolicy = { ...newRun().retryPolicy, maxAttempts };
  let scenario = attempt(nothing, created(newRun({ maxDuration: maxDuration || undefined, retryPolicy })));
  let ms = 0;
  let newest = 0;
  const repeated: string[] = [];
  for (const [{ name, worker: who, decide }, pause] of commands) {
    ms += pause;
    const lease = who === "next" ? newest + 1 : newest - who;
    const decideNow = decide(String(lease));
    const next = attempt(scenario, decideNow, after(ms));
    if (next === scenario) continue;
    if (next.events.at(-1)?.type === "run.claimed") newest = lease;
    // A repeat of what was recorded records nothing and is not refused.
    const again = outcome(next, decideNow, after(ms));
    if (again !== "-") repeated.push(`${name}: ${again}`);
    scenario = next;
  }
  return { ...scenario, repeated };
}

function violations(events: readonly Event[]) {
  const stored = { position: 0n, subject: "", body: new Uint8Array(), prevHash: genesisHash, hash: genesisHash };
  return checkRuns(
    events.map((event) => ({
      stored,
      event,
      position: event.position,
      stream: "run_1",
      name: `${event.position} ${event.type}`,
    })),
  );
}

const seen = new Set<string>();

test("whatever workers, clients and clocks do, a run ends once, by legal steps, and no fenced worker writes", () => {
  fc.assert(
    fc.property(story, (given) => {
      const { events, state, repeated } = play(given);
      const { maxAttempts } = given;
      for (const { type } of events) seen.add(type);
      expect(repeated).toEqual([]);
      expect(violations(events)).toEqual([]);
      expect(timing(events)).toEqual([]);
      // The state is the fold of the events and nothing else.
      expect(plain(events.reduce(runAggregate.evolve, runAggregate.initial))).toEqual(plain(state));
      const { run: resource, lease } = state as LiveRun;
      expect(resource.failedAttempts).toBeLessThanOrEqual(maxAttempts);
      const exhausted = resource.endReason === RunEndReason.ATTEMPTS_EXHAUSTED;
      expect(exhausted && resource.failedAttempts < maxAttempts).toBe(false);
      expect(resource.failedAttempts === maxAttempts && resource.status !== RunStatus.FAILED).toBe(false);
      expect(resource.attempt).toBe(events.filter(({ type }) => type === "run.claimed").length);
      expect(resource.usage?.toolCalls).toBe(BigInt(events.filter(({ type }) => type === "tool_call.started").length));
      expect(lease === undefined).toBe(resource.status !== RunStatus.RUNNING);
    }),
    { numRuns: 5_000 },
  );
  expect([...seen].toSorted()).toEqual([
    "run.attempt_failed",
    "run.canceled",
    "run.claimed",
    "run.created",
    "run.failed",
    "run.lease_expired",
    "run.released",
    "run.succeeded",
    "step.completed",
    "step.failed",
    "step.started",
    "tool_call.failed",
    "tool_call.reconciled",
    "tool_call.started",
    "tool_call.succeeded",
  ]);
});

/** The state with its maps as lists. */
function plain(state: RunState) {
  const { steps, toolCalls, ...rest } = state as LiveRun;
  return { ...rest, steps: [...steps.values()], toolCalls: [...toolCalls.values()] };
}

/** Claims that came before the run was due, or before the lease that they took over was over. */
function timing(events: readonly Event[]): string[] {
  let dueMs = 0;
  let holdsUntilMs: number | undefined;
  const problems: string[] = [];
  for (const { type, payload, createTime } of events) {
    const nowMs = timestampMs(createTime!);
    if (payload.case === "runClaimed") {
      if (nowMs < dueMs) problems.push(`claimed ${dueMs - nowMs} ms before it was due`);
      if (holdsUntilMs !== undefined && nowMs < holdsUntilMs) problems.push("claimed under a lease that holds");
      holdsUntilMs = nowMs + 30_000;
    } else if (type.startsWith("run.")) {
      holdsUntilMs = undefined;
      if (payload.case === "runReleased" || payload.case === "runAttemptFailed") {
        dueMs = timestampMs(payload.value.availableTime!);
      }
    }
  }
  return problems;
}
