import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageSchema, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import {
  RetryPolicySchema,
  RunEndReason,
  RunSchema,
  RunStatus,
  StepStatus,
  ToolCallStatus,
  ToolEffect,
} from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { cancelRun, expireRun } from "../../src/runs/decider.ts";
import { backoffMs, completeRun, expireLease, failRun, releaseRun } from "../../src/runs/lease-decider.ts";
import { PersistentMap } from "../../src/kernel/persistent-map.ts";
import type { LiveRun } from "../../src/runs/state.ts";
import { completeStep, failStep, maxOpenPerRun, maxStepsPerRun } from "../../src/runs/step-decider.ts";
import { succeedToolCall } from "../../src/runs/tool-call-decider.ts";
import {
  after,
  attempt,
  claimed,
  created,
  type Decide,
  final,
  given,
  newRun,
  outcome,
  passing,
  ref,
  type Scenario,
  start,
  stepStarted,
  text,
  toolCallStarted,
} from "./scenario.ts";

const payload = (scenario: Scenario) => scenario.events.at(-1)?.payload.value;
const live = ({ state }: Scenario) => state as LiveRun;

test("run.created says what the request and its defaults say", () => {
  const request = create(CreateRunRequestSchema, {
    handler: "echo",
    input: text("in"),
    labels: { team: "signals" },
    threadId: "th_1",
    sessionId: "sess_1",
    parentRunId: "run_0",
  });
  const scenario = given(created(newRun({ request, maxDuration: durationFromMs(90_000) })));
  expect(payload(scenario)).toMatchObject({
    handler: "echo",
    queue: "default",
    input: text("in"),
    labels: { team: "signals" },
    threadId: "th_1",
    sessionId: "sess_1",
    parentRunId: "run_0",
  });
  const { run } = live(scenario);
  expect(run).toMatchObject({ status: RunStatus.QUEUED, attempt: 0, failedAttempts: 0, zone: Zone.SUPERVISED });
  expect(timestampDate(run.availableTime!)).toEqual(start);
  expect(timestampDate(run.deadlineTime!)).toEqual(after(90_000));
});

test("a claim begins the next attempt, under a lease that is over when its time is", () => {
  const scenario = given(created(), claimed("1"));
  expect(payload(scenario)).toMatchObject({ attempt: 1, leaseId: "lease_1", workerId: "wrk_1", jobId: "job_1" });
  expect(payload(scenario)).not.toHaveProperty("lost");
  const { run } = live(scenario);
  expect(run).toMatchObject({ status: RunStatus.RUNNING, attempt: 1, workerId: "wrk_1", availableTime: undefined });
  expect(timestampDate(run.leaseExpireTime!)).toEqual(after(30_000));
  expect(timestampDate(run.startTime!)).toEqual(start);
});

describe("the end of a lease", () => {
  const busy = given(
    created(),
    claimed("1"),
    stepStarted("1", "done"),
    (state) => completeStep(state, ref("1"), { stepId: "step_done", output: text("out"), usage: undefined }),
    stepStarted("1", "open"),
    toolCallStarted("1", { call: "read", effect: ToolEffect.READ }),
    toolCallStarted("1", { call: "idempotent", idempotent: true }),
    toolCallStarted("1", { call: "write", effect: ToolEffect.WRITE }),
    toolCallStarted("1", { call: "external" }),
    toolCallStarted("1", { call: "over" }),
    (state) => succeedToolCall(state, ref("1"), { toolCallId: "tc_over", result: text("paid"), usage: undefined }),
  );
  const left = {
    leaseId: "lease_1",
    abandonedStepIds: ["step_open"],
    failedToolCallIds: ["tc_read", "tc_idempotent"],
    unknownToolCallIds: ["tc_write", "tc_external"],
  };

  test.each<[string, Decide, Date]>([
    ["release", (state, now) => releaseRun(state, ref("1"), "", 0, now), start],
    ["retryable failure", (state, now) => failRun(state, ref("1"), passing, now), start],
    ["final failure", (state, now) => failRun(state, ref("1"), final, now), start],
    ["success", (state) => completeRun(state, ref("1"), text("out")), start],
    ["cancel", (state) => cancelRun(state, "run_1", ""), start],
    ["lapse", (state) => expireLease(state, "lease_1"), start],
    ["takeover", claimed("2", { jobId: "job_1", redelivered: true }), after(30_000)],
  ])("by %s names everything that was under way, and what may not be repeated blindly", (_name, decide, now) => {
    const scenario = attempt(busy, decide, now);
    const value = payload(scenario) as { lease?: unknown; lost?: unknown };
    expect(value.lease ?? value.lost).toMatchObject(left);
    const { steps, toolCalls, endedLease } = live(scenario);
    expect(endedLease).toEqual({ leaseId: "lease_1", by: scenario.events.at(-1)?.type });
    expect([...steps.values()].map(({ step }) => step.status)).toEqual([StepStatus.COMPLETED, StepStatus.ABANDONED]);
    expect([...toolCalls.values()].map(({ toolCall }) => toolCall.status)).toEqual([
      ToolCallStatus.FAILED,
      ToolCallStatus.FAILED,
      ToolCallStatus.UNKNOWN,
      ToolCallStatus.UNKNOWN,
      ToolCallStatus.SUCCEEDED,
    ]);
  });
});

describe("a failure", () => {
  const fail =
    (error = passing): Decide =>
    (state, now) =>
      failRun(state, ref("1"), error, now);

  test("waits for its backoff and keeps its error until the run succeeds", () => {
    const waiting = attempt(given(created(), claimed("1")), fail());
    expect(live(waiting).run).toMatchObject({
      status: RunStatus.QUEUED,
      failedAttempts: 1,
      error: passing,
      workerId: "",
    });
    expect(timestampDate(live(waiting).run.availableTime!)).toEqual(after(1_000));
    const again = attempt(waiting, claimed("2"), after(1_000));
    expect(live(again).run).toMatchObject({ attempt: 2, error: passing });
    const done = attempt(again, (state) => completeRun(state, ref("2"), text("out")), after(2_000));
    expect(live(done).run).toMatchObject({
      status: RunStatus.SUCCEEDED,
      endReason: RunEndReason.COMPLETED,
      error: undefined,
      output: text("out"),
    });
  });

  test.each([
    ["that can not be mended", final, { nonRetryableCodes: [] }, RunEndReason.HANDLER_FAILED],
    ["with a code that the policy names", passing, { nonRetryableCodes: ["BUSY"] }, RunEndReason.HANDLER_FAILED],
    ["of the last attempt", passing, { maxAttempts: 1 }, RunEndReason.ATTEMPTS_EXHAUSTED],
  ])("%s ends the run", (_name, error, policy, endReason) => {
    const retryPolicy = { ...newRun().retryPolicy, ...policy };
    const scenario = attempt(given(created(newRun({ retryPolicy })), claimed("1")), fail(error));
    expect(live(scenario).run).toMatchObject({ status: RunStatus.FAILED, endReason, error, failedAttempts: 1 });
  });

  test("of the last attempt by silence says that the lease was lost", () => {
    const retryPolicy = { ...newRun().retryPolicy, maxAttempts: 1 };
    const scenario = attempt(given(created(newRun({ retryPolicy })), claimed("1")), (state) =>
      expireLease(state, "lease_1"),
    );
    expect(live(scenario).run).toMatchObject({
      endReason: RunEndReason.ATTEMPTS_EXHAUSTED,
      error: { code: "LEASE_LOST", retryable: true },
    });
  });

  test("by the deadline says so", () => {
    const scenario = attempt(given(created(newRun({ maxDuration: durationFromMs(1) }))), expireRun, after(1));
    expect(live(scenario).run).toMatchObject({
      status: RunStatus.FAILED,
      endReason: RunEndReason.DEADLINE_EXCEEDED,
      error: { code: "DEADLINE_EXCEEDED" },
      failedAttempts: 0,
    });
  });
});

test("a released run counts no failure and is due after the delay", () => {
  const scenario = attempt(given(created(), claimed("1")), (state, now) =>
    releaseRun(state, ref("1"), "bye", 5_000, now),
  );
  expect(live(scenario).run).toMatchObject({ status: RunStatus.QUEUED, attempt: 1, failedAttempts: 0 });
  expect(timestampDate(live(scenario).run.availableTime!)).toEqual(after(5_000));
});

describe("the pause after a failure", () => {
  const policy = (initialMs: number, backoffMultiplier: number, capMs: number) =>
    create(RetryPolicySchema, {
      maxAttempts: 100,
      initialBackoff: durationFromMs(initialMs),
      backoffMultiplier,
      maxBackoff: durationFromMs(capMs),
    });

  test.each([
    [1_000, 2, 60_000, [1_000, 2_000, 4_000, 8_000]],
    [1_000, 1, 60_000, [1_000, 1_000, 1_000]],
    [1_000, 10, 5_000, [1_000, 5_000, 5_000]],
    [0, 2, 0, [0, 0, 0]],
  ])("of %i ms, times %d, up to %i ms", (initialMs, multiplier, capMs, pauses) => {
    expect(pauses.map((_, index) => backoffMs(policy(initialMs, multiplier, capMs), index + 1))).toEqual(pauses);
  });

  test("is always a whole number of milliseconds, so that its event can be stored", () => {
    const real = fc.double({ min: 1, max: 10, noNaN: true });
    fc.assert(
      fc.property(real, fc.integer({ min: 1, max: 99 }), fc.nat(86_400_000), (multiplier, failures, initialMs) => {
        const retryPolicy = policy(initialMs, multiplier, 86_400_000);
        const pause = backoffMs(retryPolicy, failures);
        expect(Number.isInteger(pause) && pause >= 0 && pause <= 86_400_000).toBe(true);
      }),
    );
    const retryPolicy = policy(1_000, 1.1, 60_000);
    const failing: Decide = (state, now) =>
      failRun(state, { runId: "run_1", leaseId: live({ state, events: [] }).lease!.leaseId }, passing, now);
    let scenario = given(created(newRun({ retryPolicy })));
    for (let i = 1; i <= 10; i++) {
      scenario = attempt(attempt(scenario, claimed(String(i)), after(i * 60_000)), failing, after(i * 60_000));
      expect(() => toBinary(EventSchema, scenario.events.at(-1)!)).not.toThrow();
    }
    expect(scenario.events).toHaveLength(21);
  });
});

test("usage adds up, over failures and attempts; the server counts the tool calls", () => {
  const usage = create(UsageSchema, { inputTokens: 10n, outputTokens: 2n, costMicros: 3n, toolCalls: 99n });
  const scenario = given(
    created(),
    claimed("1"),
    stepStarted("1"),
    (state) => failStep(state, ref("1"), { stepId: "step_1", error: passing, usage }),
    stepStarted("1"),
    (state) => completeStep(state, ref("1"), { stepId: "step_1", output: text("out"), usage }),
    toolCallStarted("1"),
    (state) => succeedToolCall(state, ref("1"), { toolCallId: "tc_1", result: text("paid"), usage }),
  );
  expect(live(scenario).run.usage).toMatchObject({ inputTokens: 30n, outputTokens: 6n, costMicros: 9n, toolCalls: 1n });
  expect(live(scenario).steps.get("step_1")?.step).toMatchObject({ attempt: 2, usage: { inputTokens: 20n } });
});

test("usage that is more than can be counted stays at the most that can", () => {
  const usage = create(UsageSchema, { costMicros: 2n ** 64n - 1n });
  const spend: Decide = (state) => failStep(state, ref("1"), { stepId: "step_1", error: passing, usage });
  const scenario = given(created(), claimed("1"), stepStarted("1"), spend, stepStarted("1"), spend);
  expect(live(scenario).run.usage?.costMicros).toBe(2n ** 64n - 1n);
  expect(() => toBinary(RunSchema, live(scenario).run)).not.toThrow();
});

test("the state keeps neither inputs nor outputs of steps and tool calls, which can be large", () => {
  const scenario = given(
    created(),
    claimed("1"),
    stepStarted("1"),
    (state) => completeStep(state, ref("1"), { stepId: "step_1", output: text("out"), usage: undefined }),
    toolCallStarted("1"),
    (state) => succeedToolCall(state, ref("1"), { toolCallId: "tc_1", result: text("paid"), usage: undefined }),
  );
  const { steps, toolCalls } = live(scenario);
  expect(steps.get("step_1")).toMatchObject({ step: { input: undefined, output: undefined, startPosition: 3n } });
  expect(toolCalls.get("tc_1")).toMatchObject({
    toolCall: { arguments: undefined, result: undefined, startPosition: 5n },
    argumentsPosition: 5n,
  });
});

test("a tool call belongs to a step that exists", () => {
  const scenario = given(created(), claimed("1"), stepStarted("1"));
  expect(outcome(scenario, toolCallStarted("1", { stepId: "step_1" }))).toBe("tool_call.started");
  expect(outcome(scenario, toolCallStarted("1", { stepId: "step_2" }))).toBe("STEP_NOT_FOUND");
});

describe("a run", () => {
  test(`has ${maxOpenPerRun} steps under way at most`, () => {
    let scenario = given(created(), claimed("1"));
    for (let i = 0; i < maxOpenPerRun; i++) scenario = attempt(scenario, stepStarted("1", String(i)));
    expect(live(scenario).steps.size).toBe(maxOpenPerRun);
    expect(outcome(scenario, stepStarted("1", "more"))).toBe("QUOTA_EXCEEDED");
    expect(outcome(scenario, stepStarted("1", "0"))).toBe("-");
  });

  test(`has ${maxStepsPerRun} steps at most`, () => {
    const complete: Decide = (state) =>
      completeStep(state, ref("1"), { stepId: "step_1", output: undefined, usage: undefined });
    const one = given(created(), claimed("1"), stepStarted("1"), complete);
    const done = live(one).steps.get("step_1")!;
    const steps = new PersistentMap(new Map(Array.from({ length: maxStepsPerRun }, (_, i) => [`step_${i}`, done])));
    const full: Scenario = { ...one, state: { ...live(one), status: "running", steps } };
    expect(outcome(full, stepStarted("1", "more"))).toBe("QUOTA_EXCEEDED");
    expect(outcome(full, stepStarted("1", "0"))).toBe("-");
  });
});
