import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import {
  type Budget,
  BudgetSchema,
  OnExhausted,
  RunEndReason,
  RunStatus,
  StepKind,
  ToolEffect,
  WakeConditionSchema,
} from "../../gen/signalbox/v1/run_pb.ts";
import { genesisHash } from "../../src/eventlog/record.ts";
import { cancelRun, expireRun } from "../../src/runs/decider.ts";
import { claimRun, completeRun, expireLease, failRun, releaseRun } from "../../src/runs/lease-decider.ts";
import { receiveMessage } from "../../src/runs/message-decider.ts";
import { pauseRun, resumeRun } from "../../src/runs/pause-decider.ts";
import { type LiveRun, runAggregate, type RunState } from "../../src/runs/state.ts";
import { completeStep, failStep } from "../../src/runs/step-decider.ts";
import { failToolCall, reconcileToolCall, succeedToolCall } from "../../src/runs/tool-call-decider.ts";
import { endChild, suspendRun, wakeRun } from "../../src/runs/wait-decider.ts";
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
/** Somebody who pauses runs. */
const operator = create(PrincipalSchema, { type: PrincipalType.USER, id: "operator" });

/** As many tool calls; 0 for as many as one likes. */
function budgetOf(maxToolCalls: bigint): Budget {
  return create(BudgetSchema, { maxToolCalls });
}

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

/** What begins in other ways than most. */
const startingOtherwise: fc.Arbitrary<Command> = fc.oneof(
  by("start sleep", { id }, (lease, given) => {
    return stepStarted(lease, `sleep ${given.id}`, { kind: StepKind.SLEEP, delayMs: 700 });
  }),
  by("start child", { id }, (lease, given) => {
    return stepStarted(lease, `child ${given.id}`, { kind: StepKind.RUN, childRunId: `run_c${given.id}` });
  }),
  by("reuse step", { id }, (lease, given) => {
    return stepStarted(lease, `reused ${given.id}`, {}, { runId: "run_0", output: text("old") });
  }),
  by("reuse call", { id }, (lease, given) => {
    const recorded = { runId: "run_0", arguments: text("in"), result: text("old") };
    return toolCallStarted(lease, { call: `reused ${given.id}` }, recorded);
  }),
);

/** What begins an attempt. */
const claiming: fc.Arbitrary<Command> = fc
  .record({ redelivered: fc.boolean(), ownJob: fc.boolean() })
  .map(({ redelivered, ownJob }): Command => ({
    name: "claim",
    worker: "next",
    decide: (lease) => (state, now) => {
      // Every message comes again sooner or later, that of the present lease too.
      const jobId = ownJob && state.status === "running" ? state.lease!.jobId : `job_${lease}`;
      return claimRun(state, claim(lease, { jobId, redelivered }), now);
    },
  }));

/** What begins and goes on. */
const going: fc.Arbitrary<Command> = fc.oneof(
  by("start step", { id }, (lease, given) => stepStarted(lease, given.id)),
  startingOtherwise,
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

/** What others do to the run meanwhile. */
const meddling: fc.Arbitrary<Command> = fc.oneof(
  anyone("pause", fc.constant(null), () => (state) => pauseRun(state, "run_1", { note: "", by: operator })),
  anyone("go on", fc.constant(null), () => (state, now) => {
    return resumeRun(state, "run_1", { note: "", budget: undefined }, now);
  }),
  anyone("resume", fc.option(fc.constantFrom(budgetOf(6n), budgetOf(0n))), (budget) => (state, now) => {
    return resumeRun(state, "run_1", { note: "", budget: budget ?? undefined }, now);
  }),
  anyone("end child", id, (child) => (state) => endChild(state, `run_c${child}`, RunStatus.SUCCEEDED)),
  anyone("send message", fc.tuple(fc.nat(30), id), ([message, thread]) => (state) => {
    const given = { messageId: `msg_${message}_${thread}`, threadId: `th_${thread}`, content: text("hi") };
    return receiveMessage(state, "run_1", { ...given, requestDigest: new Uint8Array([message]) });
  }),
  anyone("wake", fc.constant(null), () => wakeRun),
  anyone("wake", fc.constant(null), () => wakeRun),
);

/** What a worker may wait for: a child, one of two messages, a time. */
const condition = fc.oneof(
  id.map((child) => ({ case: "children" as const, value: { runIds: [`run_c${child}`] } })),
  fc.tuple(id, fc.nat(3)).map(([thread, afterNumber]) => {
    return { case: "message" as const, value: { threadId: `th_${thread}`, afterNumber } };
  }),
  fc.nat(20).map((pauses) => ({ case: "time" as const, value: timestampFromDate(after(pauses * 31_000)) })),
);

/** What ends a lease. */
const leaving: fc.Arbitrary<Command> = fc.oneof(
  by("lapse", {}, (lease) => (state) => expireLease(state, `lease_${lease}`)),
  by("release", {}, (lease) => (state, now) => releaseRun(state, ref(lease), "", 500, now)),
  by("suspend", { conditions: fc.array(condition, { minLength: 1, maxLength: 3 }) }, (lease, given) => (state, now) => {
    const conditions = given.conditions.map((each) => create(WakeConditionSchema, { condition: each }));
    return suspendRun(state, ref(lease), conditions, now);
  }),
  by("suspend until", { pauses: fc.nat(20) }, (lease, given) => (state, now) => {
    const value = timestampFromDate(after(given.pauses * 31_000));
    return suspendRun(state, ref(lease), [create(WakeConditionSchema, { condition: { case: "time", value } })], now);
  }),
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
  { weight: 10, arbitrary: claiming },
  { weight: 40, arbitrary: going },
  { weight: 6, arbitrary: leaving },
  { weight: 8, arbitrary: meddling },
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

function anyone<T>(name: string, given: fc.Arbitrary<T>, decide: (given: T) => Decide): fc.Arbitrary<Command> {
  return given.map((value) => ({ name, worker: 0, decide: () => decide(value) }));
}

const story = fc.record({
  onExhausted: fc.constantFrom(OnExhausted.FAIL, OnExhausted.PAUSE),
  budget: fc.constantFrom(undefined, undefined, budgetOf(3n)),
  maxAttempts: fc.integer({ min: 1, max: 4 }),
  deadlineSeconds: fc.constantFrom(undefined, undefined, 90n),
  // With the time that passes before each, in milliseconds.
  commands: fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 0, 0, 700, 31_000)), { maxLength: 100, size: "max" }),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

/** Plays the commands on a new run, each twice. `repeated` says which repeats did anything. */
function play({ maxAttempts, onExhausted, budget, deadlineSeconds, commands }: Story) {
  const seconds = deadlineSeconds;
  const maxDuration = seconds && { $typeName: "google.protobuf.Duration" as const, seconds, nanos: 0 };
  const retryPolicy = { ...newRun().retryPolicy, maxAttempts, onExhausted };
  let scenario = attempt(nothing, created(newRun({ maxDuration: maxDuration || undefined, retryPolicy, budget })));
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
      const live = state as LiveRun;
      const { run: resource, lease } = live;
      expect(resource.failedAttempts).toBeLessThanOrEqual(maxAttempts);
      const exhausted = resource.endReason === RunEndReason.ATTEMPTS_EXHAUSTED;
      expect(exhausted && resource.failedAttempts < maxAttempts).toBe(false);
      expect(resource.failedAttempts < maxAttempts || stopped.has(resource.status)).toBe(true);
      expect(resource.attempt).toBe(events.filter(({ type }) => type === "run.claimed").length);
      expect(resource.usage?.toolCalls).toBe(BigInt(events.filter(({ type }) => type === "tool_call.started").length));
      expect(resource.usage?.steps).toBe(BigInt(events.filter(({ type }) => type === "step.started").length));
      expect(lease === undefined).toBe(resource.status !== RunStatus.RUNNING);
      expect(resource.claimTime === undefined).toBe(lease === undefined);
      expect(resource.pauseRequested).toBe(live.pauseRequest !== undefined);
      expect(resource.waitingOn === undefined).toBe(resource.status !== RunStatus.WAITING);
      expect(resource.pause === undefined).toBe(resource.status !== RunStatus.PAUSED);
      expect(resource.availableTime === undefined).toBe(resource.status !== RunStatus.QUEUED);
      expect(resource.activeTime ? durationMs(resource.activeTime) : 0).toBe(heldMs(events));
    }),
    { numRuns: 5_000 },
  );
  expect([...seen].toSorted()).toEqual([
    "run.attempt_failed",
    "run.canceled",
    "run.child_ended",
    "run.claimed",
    "run.created",
    "run.failed",
    "run.lease_expired",
    "run.message_received",
    "run.pause_requested",
    "run.paused",
    "run.released",
    "run.resumed",
    "run.succeeded",
    "run.suspended",
    "run.woken",
    "step.completed",
    "step.failed",
    "step.reused",
    "step.started",
    "tool_call.failed",
    "tool_call.reconciled",
    "tool_call.reused",
    "tool_call.started",
    "tool_call.succeeded",
  ]);
});

/** The state with its maps as lists. */
function plain(state: RunState) {
  const { steps, toolCalls, endedChildren, messages, ...rest } = state as LiveRun;
  return {
    ...rest,
    steps: [...steps.values()],
    toolCalls: [...toolCalls.values()],
    endedChildren: [...endedChildren.values()],
    messages: [messages.count, [...messages.countOfThread.values()], [...messages.repeatable.values()]],
  };
}

/** Statuses in which no attempt follows by itself. */
const stopped: ReadonlySet<RunStatus> = new Set([RunStatus.FAILED, RunStatus.CANCELED, RunStatus.PAUSED]);

const leaseEnds: ReadonlySet<string> = new Set([
  "run.released",
  "run.attempt_failed",
  "run.lease_expired",
  "run.succeeded",
  "run.failed",
  "run.canceled",
  "run.suspended",
  "run.paused",
]);

/** How long leases that are over were held, added up. */
function heldMs(events: readonly Event[]): number {
  let totalMs = 0;
  let sinceMs: number | undefined;
  for (const { type, createTime } of events) {
    const nowMs = timestampMs(createTime!);
    if (sinceMs !== undefined && (leaseEnds.has(type) || type === "run.claimed")) {
      totalMs += nowMs - sinceMs;
      sinceMs = undefined;
    }
    if (type === "run.claimed") sinceMs = nowMs;
  }
  return totalMs;
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
    } else if (leaseEnds.has(type)) {
      holdsUntilMs = undefined;
      const waits = payload.case === "runReleased" || payload.case === "runAttemptFailed";
      dueMs = waits ? timestampMs(payload.value.availableTime!) : 0;
    }
  }
  return problems;
}
