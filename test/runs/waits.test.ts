import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import {
  RunStatus,
  StepKind,
  StepStatus,
  type WakeCondition,
  WakeConditionSchema,
} from "../../gen/signalbox/v1/run_pb.ts";
import { PersistentMap } from "../../src/kernel/persistent-map.ts";
import { releaseRun } from "../../src/runs/lease-decider.ts";
import { maxMessagesPerRun, receiveMessage } from "../../src/runs/message-decider.ts";
import { pauseRun, resumeRun } from "../../src/runs/pause-decider.ts";
import type { LiveRun } from "../../src/runs/state.ts";
import { endChild, holdingConditions, maxAwaitedChildren, suspendRun, wakeRun } from "../../src/runs/wait-decider.ts";
import { awaitedRunIds, wakeTimeOf } from "../../src/runs/waiting.ts";
import {
  after,
  attempt,
  claimed,
  created,
  type Decide,
  given,
  outcome,
  ref,
  type Scenario,
  stepStarted,
  text,
} from "./scenario.ts";

const live = ({ state }: Scenario) => state as LiveRun;

const until = (ms: number) => condition({ case: "time", value: timestampFromDate(after(ms)) });
const children = (...runIds: string[]) => condition({ case: "children", value: { runIds } });
const messageAfter = (afterNumber: number, threadId = "") =>
  condition({ case: "message", value: { threadId, afterNumber } });

function condition(value: Exclude<MessageInitShape<typeof WakeConditionSchema>, WakeCondition>["condition"]) {
  return create(WakeConditionSchema, { condition: value });
}

const suspend =
  (...conditions: WakeCondition[]): Decide =>
  (state, now) =>
    suspendRun(state, ref("1"), conditions, now);

const childEnded =
  (child: string): Decide =>
  (state) =>
    endChild(state, child, RunStatus.SUCCEEDED);

const said =
  (number: number, threadId = ""): Decide =>
  (state) =>
    receiveMessage(state, "run_1", {
      messageId: `msg_${threadId}_${number}`,
      threadId,
      content: text(`message ${number}`),
      requestDigest: new Uint8Array([number]),
    });

const startChild = (child: string) => stepStarted("1", child, { kind: StepKind.RUN, childRunId: child });
const parent = [created(), claimed("1"), startChild("run_a"), startChild("run_b")];

describe("a suspended run", () => {
  const waiting = given(...parent, suspend(children("run_a", "run_b"), until(60_000)));

  test("has no lease, leaves its steps to the next attempt, and says what it waits for", () => {
    const { run, lease, steps } = live(waiting);
    expect(lease).toBeUndefined();
    expect(run).toMatchObject({ status: RunStatus.WAITING, failedAttempts: 0, availableTime: undefined, workerId: "" });
    expect(run.waitingOn?.conditions).toHaveLength(2);
    expect(awaitedRunIds(run.waitingOn)).toEqual(["run_a", "run_b"]);
    expect(timestampDate(wakeTimeOf(run.waitingOn)!)).toEqual(after(60_000));
    expect([...steps.values()].map(({ step }) => step.status)).toEqual([StepStatus.ABANDONED, StepStatus.ABANDONED]);
  });

  test("is woken when its time has come, and not before", () => {
    expect(outcome(waiting, wakeRun, after(59_999))).toBe("-");
    const woken = attempt(waiting, wakeRun, after(60_000));
    expect(live(woken).run).toMatchObject({ status: RunStatus.QUEUED, waitingOn: undefined });
    expect(timestampDate(live(woken).run.availableTime!)).toEqual(after(60_000));
    expect(outcome(woken, wakeRun, after(60_000))).toBe("-");
  });

  test("waits for all children of a condition, and is told of each once", () => {
    const one = attempt(waiting, childEnded("run_b"));
    expect(live(one).run.status).toBe(RunStatus.WAITING);
    expect(awaitedRunIds(live(one).run.waitingOn)).toEqual(["run_a"]);
    expect(outcome(one, childEnded("run_b"))).toBe("-");
    const both = attempt(one, childEnded("run_a"));
    expect(live(both).run).toMatchObject({ status: RunStatus.QUEUED, waitingOn: undefined });
  });

  test("is not woken by a stranger's end", () => {
    const same = attempt(waiting, childEnded("run_c"));
    expect(live(same).run.status).toBe(RunStatus.WAITING);
    expect(awaitedRunIds(live(same).run.waitingOn)).toEqual(["run_a", "run_b"]);
  });

  test("is woken by the message that it waits for, and by no other", () => {
    const listening = given(created(), claimed("1"), said(1), suspend(messageAfter(1), messageAfter(0, "th_1")));
    expect(live(attempt(listening, said(1, "th_2"))).run.status).toBe(RunStatus.WAITING);
    expect(live(attempt(listening, said(1, "th_1"))).run.status).toBe(RunStatus.QUEUED);
    expect(live(attempt(listening, said(2))).run.status).toBe(RunStatus.QUEUED);
  });
});

test("a job from before the wait, or from before a pause, gives no claim to a run that is queued anew", () => {
  const woken = attempt(given(...parent, suspend(until(60_000))), wakeRun, after(60_000));
  const { requeuePosition } = live(woken);
  expect(outcome(woken, claimed("2", { jobPosition: requeuePosition - 1n }), after(60_000))).toBe("-");
  expect(outcome(woken, claimed("2", { jobPosition: requeuePosition }), after(60_000))).toBe("run.claimed");

  const by = create(PrincipalSchema, { type: PrincipalType.USER, id: "ada" });
  const pause: Decide = (state) => pauseRun(state, "run_1", { note: "", by });
  const resume: Decide = (state, now) => resumeRun(state, "run_1", { note: "", budget: undefined }, now);
  const resumed = given(created(), pause, resume);
  expect(outcome(resumed, claimed("1", { jobPosition: 1n }))).toBe("-");
  expect(outcome(resumed, claimed("1", { jobPosition: live(resumed).requeuePosition }))).toBe("run.claimed");
});

test("a job of a run that was only given back goes on to be good for it", () => {
  const release: Decide = (state, now) => releaseRun(state, ref("1"), "", 0, now);
  const released = given(created(), claimed("1", { jobPosition: 1n }), release);
  expect(outcome(released, claimed("2", { jobPosition: 1n }))).toBe("run.claimed");
});

describe("what came before the suspension", () => {
  test.each<[string, Decide[], WakeCondition]>([
    ["the end of a child", [childEnded("run_a")], children("run_a")],
    ["the ends of all children", [childEnded("run_a"), childEnded("run_b")], children("run_a", "run_b")],
    ["a message", [said(1)], messageAfter(0)],
    ["a time", [], until(0)],
  ])("is not lost: %s", (_name, before, wanted) => {
    const scenario = given(...parent, ...before);
    expect(outcome(scenario, suspend(until(60_000), wanted))).toBe("-");
    expect(holdingConditions(live(scenario), [until(60_000), wanted], after(0))).toEqual([1]);
  });

  test("is left out of what is still waited for", () => {
    const scenario = given(...parent, childEnded("run_a"), suspend(children("run_a", "run_b")));
    expect(awaitedRunIds(live(scenario).run.waitingOn)).toEqual(["run_b"]);
  });
});

test("a run waits for runs only that a step of its own has started", () => {
  const scenario = given(...parent);
  expect(outcome(scenario, suspend(children("run_a", "run_x")))).toBe("INVALID_STATE");
  const many = Array.from({ length: maxAwaitedChildren + 1 }, (_, index) => `run_${index}`);
  expect(outcome(scenario, suspend(children(...many)))).toBe("QUOTA_EXCEEDED");
});

describe("a sleep", () => {
  const asleep = (ms?: number) => stepStarted("1", "sleep", { kind: StepKind.SLEEP, delayMs: ms });

  test("is over when its first start said, however often it is started again", () => {
    const first = given(created(), claimed("1"), asleep(60_000));
    const wakeTime = () => timestampDate(live(again).steps.get("step_sleep")!.step.wakeTime!);
    let again = first;
    expect(wakeTime()).toEqual(after(60_000));
    again = attempt(attempt(first, suspend(until(60_000))), wakeRun, after(60_000));
    again = attempt(again, claimed("2"), after(60_000));
    again = attempt(again, stepStarted("2", "sleep", { kind: StepKind.SLEEP, delayMs: 60_000 }), after(60_000));
    expect(live(again).steps.get("step_sleep")?.step).toMatchObject({ attempt: 2, startPosition: 3n });
    expect(wakeTime()).toEqual(after(60_000));
  });
});

describe("messages", () => {
  test("are counted for each thread, and kept whatever the run does", () => {
    const scenario = given(created(), said(1), said(1, "th_1"), claimed("1"), said(2), suspend(messageAfter(2)));
    const { countOfThread, count } = live(scenario).messages;
    expect([count, countOfThread.get(""), countOfThread.get("th_1")]).toEqual([3, 2, 1]);
  });

  test("are recorded once for one request, and refused when it says something else", () => {
    const scenario = given(created(), said(1));
    expect(outcome(scenario, said(1))).toBe("-");
    const other: Decide = (state) =>
      receiveMessage(state, "run_1", {
        messageId: "msg__1",
        threadId: "",
        content: text("other"),
        requestDigest: new Uint8Array([9]),
      });
    expect(outcome(scenario, other)).toBe("REQUEST_ID_REUSED");
  });

  test("are answered again after the run has ended, and no new ones taken", () => {
    const scenario = given(created(), said(1), (state) => ({
      payload: { case: "runCanceled", value: { $typeName: "signalbox.v1.RunCanceled", reason: "" } },
      zone: (state as LiveRun).run.zone,
    }));
    expect(outcome(scenario, said(1))).toBe("-");
    expect(outcome(scenario, said(2))).toBe("INVALID_STATE");
  });

  test("leave no content in the state, which can be large", () => {
    expect(live(given(created(), said(1))).messages.repeatable.get("msg__1")?.message.content).toBeUndefined();
  });

  test(`come ${maxMessagesPerRun} times at most`, () => {
    const one = given(created());
    const messages = { ...live(one).messages, count: maxMessagesPerRun, countOfThread: new PersistentMap<number>() };
    expect(outcome({ ...one, state: { ...live(one), status: "queued", messages } }, said(1))).toBe("QUOTA_EXCEEDED");
  });
});
