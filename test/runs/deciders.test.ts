import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import {
  MessageWaitSchema,
  OnExhausted,
  RunStatus,
  type WakeCondition,
  WakeConditionSchema,
} from "../../gen/signalbox/v1/run_pb.ts";
import { cancelRun, expireRun } from "../../src/runs/decider.ts";
import { completeRun, expireLease, failRun, releaseRun } from "../../src/runs/lease-decider.ts";
import { receiveMessage } from "../../src/runs/message-decider.ts";
import { pauseRun, resumeRun } from "../../src/runs/pause-decider.ts";
import { completeStep, failStep } from "../../src/runs/step-decider.ts";
import { failToolCall, reconcileToolCall, succeedToolCall } from "../../src/runs/tool-call-decider.ts";
import { endChild, suspendRun, wakeRun } from "../../src/runs/wait-decider.ts";
import {
  after,
  attempt,
  claimed,
  created,
  type Decide,
  final,
  given,
  newRun,
  nothing,
  outcome,
  passing,
  ref,
  type Scenario,
  stepStarted,
  text,
  toolCallStarted,
} from "./scenario.ts";

const day = 86_400_000;
const usage = undefined;
const mine = ref("1");

const cancel: Decide = (state) => cancelRun(state, "run_1", "enough");
const release: Decide = (state, now) => releaseRun(state, mine, "bye", 0, now);
const complete =
  (output = "out"): Decide =>
  (state) =>
    completeRun(state, mine, text(output));
const fail =
  (error = passing): Decide =>
  (state, now) =>
    failRun(state, mine, error, now);
const lapse: Decide = (state) => expireLease(state, "lease_1");
const stepCompleted =
  (output = "out"): Decide =>
  (state) =>
    completeStep(state, mine, { stepId: "step_1", output: text(output), usage });
const stepFailed: Decide = (state) => failStep(state, mine, { stepId: "step_1", error: passing, usage });
const toolCallSucceeded =
  (result = "out"): Decide =>
  (state) =>
    succeedToolCall(state, mine, { toolCallId: "tc_1", result: text(result), usage });
const toolCallFailed: Decide = (state) => failToolCall(state, mine, { toolCallId: "tc_1", error: passing, usage });
const reconciled =
  (result: string | undefined, lease = mine): Decide =>
  (state) =>
    reconcileToolCall(state, lease, {
      toolCallId: "tc_1",
      result: result === undefined ? undefined : text(result),
      note: "looked",
    });

/**
 * Every command in every state: the row's command given in the column's state comes to what stands there, and given once
 * more it records nothing. Commands of a worker are those of lease 1.
 */
function describeMatrix(
  name: string,
  states: Record<string, Scenario>,
  commands: Record<string, Decide>,
  table: string,
): void {
  const [header = [], ...rows] = table
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/ +/));
  test(`${name}: the table has every state and every command`, () => {
    expect(header).toEqual(Object.keys(states));
    expect(rows.map(([command]) => command)).toEqual(Object.keys(commands));
  });
  describe.each(rows.map(([command = "", ...outcomes]) => ({ command, outcomes })))(
    `${name}: $command`,
    ({ command, outcomes }) => {
      const decide = commands[command]!;
      test.each(header.map((state, index) => [state, outcomes[index]!]))("when %s: %s", (state, wanted) => {
        const before = states[state]!;
        const now = after(10_000);
        expect(outcome(before, decide, now)).toBe(wanted);
        const next = attempt(before, decide, now);
        expect(next.events.length - before.events.length).toBe(/^[a-z]/.test(wanted) ? 1 : 0);
        expect(outcome(next, decide, now)).toBe(next === before ? wanted : "-");
      });
    },
  );
}

/** Waits for the first message without a thread. */
const suspendUntil =
  (condition: WakeCondition["condition"]): Decide =>
  (state, now) =>
    suspendRun(state, mine, [create(WakeConditionSchema, { condition })], now);
const suspend = suspendUntil({ case: "message", value: create(MessageWaitSchema) });
const operator = create(PrincipalSchema, { type: PrincipalType.USER, id: "operator" });
const pause: Decide = (state) => pauseRun(state, "run_1", { note: "track works", by: operator });
const resume: Decide = (state, now) => resumeRun(state, "run_1", { note: "", budget: undefined }, now);
const say: Decide = (state) =>
  receiveMessage(state, "run_1", {
    messageId: "msg_1",
    threadId: "",
    content: text("go on"),
    requestDigest: new Uint8Array([1]),
  });

const once = newRun({ retryPolicy: { ...newRun().retryPolicy, maxAttempts: 1 } });
const patient = newRun({
  retryPolicy: { ...newRun().retryPolicy, maxAttempts: 1, onExhausted: OnExhausted.PAUSE },
});
const leased = [created(), claimed("1")];

describeMatrix(
  "a run",
  {
    absent: nothing,
    queued: given(created()),
    delayed: given(created(), claimed("1"), (state, now) => releaseRun(state, mine, "later", day, now)),
    leased: given(...leased),
    "leased-last": given(created(once), claimed("1")),
    "leased-lapsed": given(after(-day), ...leased),
    "taken-over": given(after(-day), ...leased, after(0), claimed("2", { jobId: "job_1", redelivered: true })),
    released: given(...leased, release),
    lapsed: given(...leased, lapse),
    "to-retry": given(...leased, fail()),
    succeeded: given(...leased, complete()),
    failed: given(...leased, fail(final)),
    canceled: given(...leased, cancel),
    "to-pause": given(...leased, pause),
    waiting: given(...leased, suspend),
    paused: given(created(), pause),
    "paused-late": given(...leased, pause, release),
    exhausted: given(created(patient), claimed("1"), fail()),
  },
  {
    create: created(),
    "create-other": created(newRun({ body: "b" })),
    cancel,
    claim: claimed("3"),
    "claim-again": claimed("3", { jobId: "job_1", redelivered: true }),
    lapse,
    release,
    complete: complete(),
    "complete-other": complete("other"),
    "fail-retryable": fail(),
    "fail-final": fail(final),
    pause,
    resume,
    suspend,
    "suspend-held": suspendUntil({ case: "time", value: timestampFromDate(after(0)) }),
    wake: wakeRun,
    "end-child": (state) => endChild(state, "run_c", RunStatus.SUCCEEDED),
    message: say,
    "start-step": stepStarted("1"),
    "complete-step": stepCompleted(),
    "fail-step": stepFailed,
    "start-call": toolCallStarted("1"),
    "succeed-call": toolCallSucceeded(),
    "fail-call": toolCallFailed,
    "reconcile-call": reconciled("found"),
  },
  `
                absent         queued                delayed               leased                leased-last           leased-lapsed         taken-over            released              lapsed                to-retry              succeeded          failed             canceled           to-pause              waiting               paused                paused-late           exhausted
create          run.created    -                     -                     -                     -                     -                     -                     -                     -                     -                     -                  -                  -                  -                     -                     -                     -                     -
create-other    run.created    REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED  REQUEST_ID_REUSED  REQUEST_ID_REUSED  REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED     REQUEST_ID_REUSED
cancel          RUN_NOT_FOUND  run.canceled          run.canceled          run.canceled          run.canceled          run.canceled          run.canceled          run.canceled          run.canceled          run.canceled          INVALID_STATE      INVALID_STATE      -                  run.canceled          run.canceled          run.canceled          run.canceled          run.canceled
claim           -              run.claimed           -                     -                     -                     -                     -                     run.claimed           run.claimed           run.claimed           -                  -                  -                  -                     -                     -                     -                     -
claim-again     -              run.claimed           -                     -                     -                     run.claimed           -                     run.claimed           run.claimed           run.claimed           -                  -                  -                  -                     -                     -                     -                     -
lapse           -              -                     -                     run.lease_expired     run.failed            run.lease_expired     -                     -                     -                     -                     -                  -                  -                  run.paused            -                     -                     -                     -
release         RUN_NOT_FOUND  LEASE_LOST            -                     run.released          run.released          run.released          LEASE_LOST            -                     LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         run.paused            LEASE_LOST            LEASE_LOST            -                     -
complete        RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            run.succeeded         run.succeeded         run.succeeded         LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            -                  LEASE_LOST         LEASE_LOST         run.succeeded         LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
complete-other  RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            run.succeeded         run.succeeded         run.succeeded         LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         run.succeeded         LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
fail-retryable  RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            run.attempt_failed    run.failed            run.attempt_failed    LEASE_LOST            LEASE_LOST            LEASE_LOST            -                     LEASE_LOST         -                  LEASE_LOST         run.paused            LEASE_LOST            LEASE_LOST            -                     -
fail-final      RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            run.failed            run.failed            run.failed            LEASE_LOST            LEASE_LOST            LEASE_LOST            -                     LEASE_LOST         -                  LEASE_LOST         run.failed            LEASE_LOST            LEASE_LOST            -                     -
pause           RUN_NOT_FOUND  run.paused            run.paused            run.pause_requested   run.pause_requested   run.pause_requested   run.pause_requested   run.paused            run.paused            run.paused            INVALID_STATE      INVALID_STATE      INVALID_STATE      -                     run.paused            -                     -                     -
resume          RUN_NOT_FOUND  -                     -                     -                     -                     -                     -                     -                     -                     -                     INVALID_STATE      INVALID_STATE      INVALID_STATE      run.resumed           -                     run.resumed           run.resumed           run.resumed
suspend         RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            run.suspended         run.suspended         run.suspended         LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         run.paused            -                     LEASE_LOST            -                     -
suspend-held    RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            -                     -                     -                     LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         run.paused            -                     LEASE_LOST            -                     -
wake            -              -                     -                     -                     -                     -                     -                     -                     -                     -                     -                  -                  -                  -                     -                     -                     -                     -
end-child       -              run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended       -                  -                  -                  run.child_ended       run.child_ended       run.child_ended       run.child_ended       run.child_ended
message         RUN_NOT_FOUND  run.message_received  run.message_received  run.message_received  run.message_received  run.message_received  run.message_received  run.message_received  run.message_received  run.message_received  INVALID_STATE      INVALID_STATE      INVALID_STATE      run.message_received  run.message_received  run.message_received  run.message_received  run.message_received
start-step      RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            step.started          step.started          step.started          LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         PAUSE_REQUESTED       LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
complete-step   RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            STEP_NOT_FOUND        STEP_NOT_FOUND        STEP_NOT_FOUND        LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         STEP_NOT_FOUND        LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
fail-step       RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            STEP_NOT_FOUND        STEP_NOT_FOUND        STEP_NOT_FOUND        LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         STEP_NOT_FOUND        LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
start-call      RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            tool_call.started     tool_call.started     tool_call.started     LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         PAUSE_REQUESTED       LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
succeed-call    RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
fail-call       RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
reconcile-call  RUN_NOT_FOUND  LEASE_LOST            LEASE_LOST            TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST         LEASE_LOST         LEASE_LOST         TOOL_CALL_NOT_FOUND   LEASE_LOST            LEASE_LOST            LEASE_LOST            LEASE_LOST
`,
);

/** A run whose lease 0 made something and ended; lease 1 goes on. */
const under = (...before: Decide[]) =>
  given(created(), claimed("0"), ...before, (state) => expireLease(state, "lease_0"), claimed("1"));

describeMatrix(
  "a step",
  {
    absent: given(...leased),
    running: given(...leased, stepStarted("1")),
    completed: given(...leased, stepStarted("1"), stepCompleted()),
    failed: given(...leased, stepStarted("1"), stepFailed),
    abandoned: under(stepStarted("0")),
    "completed-before": under(stepStarted("0"), (state) =>
      completeStep(state, ref("0"), { stepId: "step_1", output: text("out"), usage }),
    ),
  },
  {
    start: stepStarted("1"),
    complete: stepCompleted(),
    "complete-other": stepCompleted("other"),
    fail: stepFailed,
  },
  `
                absent         running           completed         failed              abandoned           completed-before
start           step.started   -                 -                 step.started        step.started        -
complete        STEP_NOT_FOUND step.completed    -                 INVALID_STATE       INVALID_STATE       -
complete-other  STEP_NOT_FOUND step.completed    INVALID_STATE     INVALID_STATE       INVALID_STATE       INVALID_STATE
fail            STEP_NOT_FOUND step.failed       INVALID_STATE     -                   INVALID_STATE       INVALID_STATE
`,
);

describeMatrix(
  "a tool call",
  {
    absent: given(...leased),
    started: given(...leased, toolCallStarted("1")),
    succeeded: given(...leased, toolCallStarted("1"), toolCallSucceeded()),
    failed: given(...leased, toolCallStarted("1"), toolCallFailed),
    unknown: under(toolCallStarted("0")),
    "left-harmless": under(toolCallStarted("0", { idempotent: true })),
    found: given(...events(under(toolCallStarted("0")), reconciled("found"))),
    "not-done": given(...events(under(toolCallStarted("0")), reconciled(undefined))),
  },
  {
    start: toolCallStarted("1"),
    succeed: toolCallSucceeded(),
    "succeed-other": toolCallSucceeded("other"),
    fail: toolCallFailed,
    reconcile: reconciled("found"),
    "reconcile-undone": reconciled(undefined),
  },
  `
                  absent              started             succeeded      failed            unknown              left-harmless      found          not-done
start             tool_call.started   -                   -              tool_call.started INVALID_STATE        tool_call.started  -              tool_call.started
succeed           TOOL_CALL_NOT_FOUND tool_call.succeeded -              INVALID_STATE     INVALID_STATE        INVALID_STATE      INVALID_STATE  INVALID_STATE
succeed-other     TOOL_CALL_NOT_FOUND tool_call.succeeded INVALID_STATE  INVALID_STATE     INVALID_STATE        INVALID_STATE      INVALID_STATE  INVALID_STATE
fail              TOOL_CALL_NOT_FOUND tool_call.failed    INVALID_STATE  -                 INVALID_STATE        -                  INVALID_STATE  INVALID_STATE
reconcile         TOOL_CALL_NOT_FOUND INVALID_STATE       INVALID_STATE  INVALID_STATE     tool_call.reconciled INVALID_STATE      -              -
reconcile-undone  TOOL_CALL_NOT_FOUND INVALID_STATE       INVALID_STATE  INVALID_STATE     tool_call.reconciled INVALID_STATE      -              -
`,
);

/** The decisions that lead to a scenario and one more. */
function events(scenario: Scenario, decide: Decide): Decide[] {
  const drafts = scenario.events.map(
    ({ payload, zone }): Decide =>
      () =>
        ({ payload, zone }) as ReturnType<Decide>,
  );
  return [...drafts, decide];
}

const withDeadline = newRun({ maxDuration: { $typeName: "google.protobuf.Duration", seconds: 60n, nanos: 0 } });

describe("a run with a deadline", () => {
  const queued = given(created(withDeadline));
  const working = given(created(withDeadline), claimed("1"));
  const lapsed = { jobId: "job_1", redelivered: true };

  test.each([
    ["is not ended before it", queued, expireRun, 59_999, "-"],
    ["is ended when it passes", queued, expireRun, 60_000, "run.failed"],
    ["is ended under its worker", working, expireRun, 60_000, "run.failed"],
    ["is ended by a claim that comes too late", queued, claimed("2"), 60_000, "run.failed"],
    ["is ended by a claim after a lost lease that comes too late", working, claimed("2", lapsed), 60_000, "run.failed"],
    ["is claimed in time", queued, claimed("2"), 59_999, "run.claimed"],
    ["may still succeed while nobody has ended it", working, complete(), 60_001, "run.succeeded"],
  ])("%s", (_name, scenario, decide, ms, wanted) => {
    expect(outcome(scenario, decide, after(ms))).toBe(wanted);
    expect(outcome(attempt(scenario, decide, after(ms)), decide, after(ms))).toBe("-");
  });

  test("that has ended is left alone", () => {
    expect(outcome(given(created(withDeadline), cancel), expireRun, after(60_000))).toBe("-");
    expect(outcome(nothing, expireRun, after(60_000))).toBe("-");
  });
});

test("a lease holds until its time is over, whatever the broker delivers again", () => {
  const scenario = given(...leased);
  const again = claimed("2", { jobId: "job_1", redelivered: true });
  expect(outcome(scenario, again, after(29_999))).toBe("-");
  expect(outcome(scenario, again, after(30_000))).toBe("run.claimed");
  expect(outcome(scenario, claimed("2", { jobId: "job_1" }), after(30_000))).toBe("-");
  expect(outcome(scenario, claimed("2", { jobId: "job_9", redelivered: true }), after(30_000))).toBe("-");
});

test("a run that waits for its retry is not claimed before it is due", () => {
  const scenario = given(...leased, fail());
  expect(outcome(scenario, claimed("2"), after(999))).toBe("-");
  expect(outcome(scenario, claimed("2"), after(1_000))).toBe("run.claimed");
});
