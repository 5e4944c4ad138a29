import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { type Principal, PrincipalSchema, PrincipalType, UsageSchema } from "../../gen/signalbox/v1/common_pb.ts";
import {
  type Budget,
  BudgetSchema,
  OnExhausted,
  PauseReason,
  RunStatus,
  StepStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import { expireLease, failRun, releaseRun } from "../../src/runs/lease-decider.ts";
import { pauseRun, resumeRun } from "../../src/runs/pause-decider.ts";
import type { LiveRun } from "../../src/runs/state.ts";
import { completeStep } from "../../src/runs/step-decider.ts";
import {
  after,
  attempt,
  claimed,
  created,
  type Decide,
  given,
  newRun,
  outcome,
  passing,
  ref,
  type Scenario,
  stepStarted,
  text,
  toolCallStarted,
} from "./scenario.ts";

const live = ({ state }: Scenario) => state as LiveRun;
const ada: Principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "ada" });

const pause: Decide = (state) => pauseRun(state, "run_1", { note: "track works", by: ada });
const resume =
  (budget?: Budget): Decide =>
  (state, now) =>
    resumeRun(state, "run_1", { note: "", budget }, now);
const release: Decide = (state, now) => releaseRun(state, ref("1"), "", 0, now);
const fail: Decide = (state, now) => failRun(state, ref("1"), passing, now);
const lapse: Decide = (state) => expireLease(state, "lease_1");

describe("a run that is asked to pause while it works", () => {
  const asked = given(created(), claimed("1"), stepStarted("1"), pause);

  test("goes on with what is under way and starts nothing more", () => {
    expect(live(asked).run).toMatchObject({ status: RunStatus.RUNNING, pauseRequested: true });
    expect(outcome(asked, stepStarted("1", "2"))).toBe("PAUSE_REQUESTED");
    expect(outcome(asked, toolCallStarted("1"))).toBe("PAUSE_REQUESTED");
    expect(outcome(asked, stepStarted("1"))).toBe("-");
    const complete: Decide = (state) =>
      completeStep(state, ref("1"), { stepId: "step_1", output: text("out"), usage: undefined });
    expect(outcome(asked, complete)).toBe("step.completed");
  });

  test.each<[string, Decide, object]>([
    ["given back", release, { failedAttempts: 0 }],
    ["given up", fail, { failedAttempts: 1, error: passing }],
    ["lost", lapse, { failedAttempts: 1, error: { code: "LEASE_LOST" } }],
  ])("is paused when its lease is %s, on behalf of who asked", (_name, decide, wanted) => {
    const { run, steps } = live(attempt(asked, decide, after(5_000)));
    expect(run).toMatchObject({
      status: RunStatus.PAUSED,
      pauseRequested: false,
      workerId: "",
      pause: { reason: PauseReason.OPERATOR, note: "track works" },
      ...wanted,
    });
    // Who asked is the actor of the request's event.
    expect(run.pause?.pauseBy?.id).toBe("tester");
    expect(durationMs(run.activeTime!)).toBe(5_000);
    expect(steps.get("step_1")?.step.status).toBe(StepStatus.ABANDONED);
  });

  test("is not taken over by whoever finds its lease lapsed", () => {
    const takeover = claimed("2", { jobId: "job_1", redelivered: true });
    expect(outcome(asked, takeover, after(30_000))).toBe("run.paused");
  });

  test("works on when the request is taken back", () => {
    const again = attempt(asked, resume());
    expect(live(again).run).toMatchObject({ status: RunStatus.RUNNING, pauseRequested: false });
    expect(live(again).pauseRequest).toBeUndefined();
    expect(outcome(again, stepStarted("1", "2"))).toBe("step.started");
    expect(outcome(again, release)).toBe("run.released");
  });
});

test("a paused run says since when and who asked, and is queued when it is resumed", () => {
  const paused = attempt(given(created()), pause, after(1_000));
  expect(live(paused).run.pause).toMatchObject({ reason: PauseReason.OPERATOR, pauseBy: { id: "ada" } });
  const resumed = attempt(paused, resume(), after(2_000));
  expect(live(resumed).run).toMatchObject({ status: RunStatus.QUEUED, pause: undefined });
  expect(outcome(resumed, claimed("1"), after(2_000))).toBe("run.claimed");
});

describe("a run that is paused when its attempts are used up", () => {
  const retryPolicy = { ...newRun().retryPolicy, maxAttempts: 1, onExhausted: OnExhausted.PAUSE };
  const working = given(created(newRun({ retryPolicy })), claimed("1"));

  test.each([
    ["by a failure", fail, after(0)],
    ["by silence", lapse, after(0)],
    ["by a takeover", claimed("2", { jobId: "job_1", redelivered: true }), after(30_000)],
  ])("stands still with its last error: %s", (_name, decide, now) => {
    const { run } = live(attempt(working, decide, now));
    expect(run).toMatchObject({ status: RunStatus.PAUSED, pause: { reason: PauseReason.ATTEMPTS_EXHAUSTED } });
    expect(run).toMatchObject({ failedAttempts: 1, error: { retryable: true } });
  });

  test("has all its attempts again when it is resumed", () => {
    const again = attempt(attempt(working, fail), resume());
    expect(live(again).run).toMatchObject({ status: RunStatus.QUEUED, failedAttempts: 0, error: passing });
  });

  test("fails for good by an error that is not to be retried", () => {
    const final: Decide = (state, now) => failRun(state, ref("1"), { ...passing, retryable: false }, now);
    expect(outcome(working, final)).toBe("run.failed");
  });
});

type Limits = MessageInitShape<typeof BudgetSchema>;

describe("a budget", () => {
  const usage = create(UsageSchema, { inputTokens: 60n, outputTokens: 40n, costMicros: 500n });
  const spent = given(
    created(),
    claimed("1"),
    stepStarted("1"),
    (state) => completeStep(state, ref("1"), { stepId: "step_1", output: undefined, usage }),
    toolCallStarted("1"),
  );

  test.each<[limit: string, Limits, Limits]>([
    ["max_tokens", { maxTokens: 100n }, { maxTokens: 101n }],
    ["max_cost_micros", { maxCostMicros: 500n }, { maxCostMicros: 501n }],
    ["max_steps", { maxSteps: 1n }, { maxSteps: 2n }],
    ["max_tool_calls", { maxToolCalls: 1n }, { maxToolCalls: 2n }],
    ["max_active_time", { maxActiveTime: durationFromMs(10_000) }, { maxActiveTime: durationFromMs(10_001) }],
  ])(
    "that is reached stops new work, pauses the run, and lets it go on when it is larger: %s",
    (limit, reached, larger) => {
      const used = withBudget(spent, reached);
      const now = after(10_000);
      expect(outcome(used, stepStarted("1", "2"), now)).toBe("BUDGET_EXCEEDED");
      expect(outcome(used, toolCallStarted("1", { call: "2" }), now)).toBe("BUDGET_EXCEEDED");
      expect(outcome(used, stepStarted("1"), now)).toBe("-");
      const paused = attempt(used, release, now);
      expect(live(paused).run).toMatchObject({ status: RunStatus.PAUSED, pause: { reason: PauseReason.BUDGET } });
      expect(live(paused).run.pause?.note).toContain(limit);
      expect(outcome(paused, resume(), now)).toBe("INVALID_STATE");
      expect(outcome(paused, resume(create(BudgetSchema, reached)), now)).toBe("INVALID_STATE");
      const resumed = attempt(paused, resume(create(BudgetSchema, larger)), now);
      expect(live(resumed).run).toMatchObject({ status: RunStatus.QUEUED, budget: larger });
      const again = attempt(resumed, claimed("2"), now);
      expect(outcome(again, stepStarted("2", "2"), now)).toBe("step.started");
    },
  );

  test("that limits nothing stops nothing", () => {
    const now = after(86_400_000);
    expect(outcome(withBudget(spent, {}), stepStarted("1", "2"), now)).toBe("step.started");
    expect(outcome(withBudget(spent, {}), release, now)).toBe("run.released");
  });

  test("is replaced while the run works, once", () => {
    const working = given(created(), claimed("1"));
    const budget = create(BudgetSchema, { maxSteps: 5n });
    const changed = attempt(working, resume(budget));
    expect(live(changed).run).toMatchObject({ status: RunStatus.RUNNING, budget });
    expect(outcome(changed, resume(budget))).toBe("-");
  });

  test("counts the time of every lease that is over", () => {
    const twice = given(created(), claimed("1"), after(4_000), release, claimed("2"), after(7_000), (state, now) =>
      releaseRun(state, ref("2"), "", 0, now),
    );
    expect(durationMs(live(twice).run.activeTime!)).toBe(7_000);
    expect(live(twice).run.claimTime).toBeUndefined();
  });

  function withBudget(scenario: Scenario, budget: Limits): Scenario {
    const state = live(scenario);
    const run = { ...state.run, budget: create(BudgetSchema, budget) };
    return { ...scenario, state: { ...state, status: "running", run } };
  }
});

describe("a step or tool call on the base run's record", () => {
  const working = given(created(newRun({ base: { runId: "run_0", position: 9n } })), claimed("1"));
  const recorded = { runId: "run_0", output: text("old") };

  test("is completed at once with what the base run got, and counts as no work", () => {
    const reused = attempt(working, stepStarted("1", "1", { sequence: 4 }, recorded));
    expect(reused.events.at(-1)).toMatchObject({
      type: "step.reused",
      payload: { value: { output: text("old"), runId: "run_0", sequence: 4, key: "1" } },
    });
    const { steps, run } = live(reused);
    expect(steps.get("step_1")).toMatchObject({
      step: { status: StepStatus.COMPLETED, output: undefined, reusedFromRunId: "run_0", attempt: 0, sequence: 4 },
    });
    expect(run).toMatchObject({ baseRunId: "run_0", basePosition: 9n, usage: { steps: 0n } });
    expect(outcome(reused, stepStarted("1", "1", {}, recorded))).toBe("-");
  });

  test("is answered with its result", () => {
    const call = { runId: "run_0", arguments: text("in"), result: text("paid") };
    const reused = attempt(working, toolCallStarted("1", {}, call));
    expect(reused.events.at(-1)?.type).toBe("tool_call.reused");
    expect(live(reused).toolCalls.get("tc_1")).toMatchObject({
      toolCall: { reusedFromRunId: "run_0", attempt: 0 },
      argumentsPosition: 3n,
    });
    expect(outcome(reused, toolCallStarted("1"))).toBe("-");
  });

  test("does not replace what the run has begun itself", () => {
    const begun = given(
      created(),
      claimed("0"),
      stepStarted("0"),
      (state) => expireLease(state, "lease_0"),
      claimed("1"),
    );
    expect(outcome(begun, stepStarted("1", "1", {}, recorded))).toBe("step.started");
  });
});
