import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, test } from "vitest";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { ToolCallGatedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { WakeConditionSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Jobs } from "../../src/jobs/jobs.ts";
import { type IdSource, randomIds } from "../../src/kernel/ids.ts";
import { sleep } from "../../src/kernel/wait.ts";
import { createAdmission } from "../../src/queues/admission.ts";
import type { Candidate } from "../../src/runs/admission.ts";
import { cancelRun, createRun } from "../../src/runs/decider.ts";
import { completeRun } from "../../src/runs/lease-decider.ts";
import { createOffers } from "../../src/runs/offers.ts";
import { pauseRun, resumeRun } from "../../src/runs/pause-decider.ts";
import { runAggregate } from "../../src/runs/state.ts";
import { endApproval, endChild, suspendRun, wakeRun } from "../../src/runs/wait-decider.ts";
import { atTime } from "../e2e/waiting.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import { claimed, created, type Decide, newRun, ref } from "./scenario.ts";

const by = create(PrincipalSchema, { type: PrincipalType.USER, id: "ada" });

/** Offers on a log in memory. The broker does not answer about the runs that are `lost`; those that got a job are listed. */
function setUp(nowMs: () => number, lost: readonly string[] = []) {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const clock = { now: () => new Date(nowMs()) };
  const ids: IdSource = randomIds;
  const aggregates = createAggregates(runAggregate, { log, clock, ids });
  const made: string[] = [];
  const withdrawn: string[] = [];
  const present = new Set<string>();
  const jobs = {
    async publish({ runId }: { runId: string }) {
      if (lost.includes(runId)) throw new Error("broker away");
      if (present.has(runId)) return false;
      present.add(runId);
      made.push(runId);
      return true;
    },
    async withdraw({ runId }: { runId: string }) {
      present.delete(runId);
      withdrawn.push(runId);
    },
  } as unknown as Jobs;
  const admission = { ...createAdmission<Candidate>(), observe: () => false };
  const offers = createOffers({
    db: { query: () => Promise.reject(new Error("no tables here")) },
    positions: { reach: async () => undefined },
    aggregates,
    jobs,
    admission,
    clock,
    ids,
    log: pino({ level: "silent" }),
    signal: new AbortController().signal,
    wake: () => undefined,
  });
  return {
    offers,
    admission,
    made,
    withdrawn,
    /** Records what a decision says about a run; returns the record. */
    async execute(decide: Decide, id = "run_1"): Promise<EventRecord> {
      const call = { workspaceId: "ws_test", principal: by, correlationId: "c", traceparent: "" };
      const { recorded } = await aggregates.execute({ call, id, decide });
      if (recorded === undefined) throw new Error("the decision records nothing");
      return recorded;
    },
  };
}

const suspended: Decide = (state, now) => suspendRun(state, ref("1"), [atTime(now.getTime() + 1)], now);
const woken: Decide = (state, now) => wakeRun(state, now);
const canceled: Decide = (state) => cancelRun(state, "run_1", "");

const approvalId = "appr_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const gated: Decide = () => {
  const value = create(ToolCallGatedSchema, { toolCallId: "tc_1", key: "send", approvalId });
  return { payload: { case: "toolCallGated", value }, zone: Zone.SANDBOX };
};
const approvalWait = create(WakeConditionSchema, { condition: { case: "approval", value: { approvalId } } });
const suspendedForApproval: Decide = (state, now) => suspendRun(state, ref("1"), [approvalWait], now);

test("a run gets its job from the event that created it", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, execute } = setUp(nowMs);
    const record = await execute(created());
    await offers.round([record]);
    expect(made).toEqual(["run_1"]);
  });
});

test("a woken run whose last job is still there gets another one in its place", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, withdrawn, execute } = setUp(nowMs);
    await offers.round([await execute(created())]);
    for (const decide of [claimed("1"), suspended]) await execute(decide);
    await sleep(5);
    await offers.round([await execute(woken)]);
    expect(withdrawn).toEqual(["run_1"]);
    expect(made).toEqual(["run_1", "run_1"]);
  });
});

test("a run whose approval is decided gets a job from that event", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, execute } = setUp(nowMs);
    await offers.round([await execute(created())]);
    for (const decide of [claimed("1"), gated, suspendedForApproval]) await execute(decide);
    await offers.round([await execute((state) => endApproval(state, approvalId, ApprovalStatus.APPROVED))]);
    expect(made).toEqual(["run_1", "run_1"]);
  });
});

test("a run that is looked at keeps the job that it has", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, withdrawn, execute } = setUp(nowMs);
    await offers.round([await execute(created())]);
    offers.look("ws_test", "run_1");
    await offers.round([]);
    expect(made).toEqual(["run_1"]);
    expect(withdrawn).toEqual([]);
  });
});

test("a run that is not queued any more when its wake-up is heard of gets no job", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, execute } = setUp(nowMs);
    for (const decide of [created(), claimed("1"), suspended]) await execute(decide);
    await sleep(5);
    const record = await execute(woken);
    await execute(canceled);
    await offers.round([record]);
    expect(made).toEqual([]);
  });
});

test("a job that can not be made is looked for by others: nothing is thrown", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, execute } = setUp(nowMs, ["run_1"]);
    const records = [await execute(created()), await execute((state) => createRun(state, newRun()), "run_2")];
    await offers.round(records);
    expect(made).toEqual(["run_2"]);
    offers.look("ws_test", "run_1");
    await offers.round([]);
    expect(made).toEqual(["run_2"]);
  });
});

test("what does not queue a run makes no job", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, made, execute } = setUp(nowMs);
    for (const decide of [created(), claimed("1")]) await execute(decide);
    const records = [
      await execute((state) => endChild(state, "run_child", 5)),
      await execute((state) => pauseRun(state, "run_1", { note: "", by })),
      await execute((state, now) => resumeRun(state, "run_1", { note: "", budget: undefined }, now)),
      await execute((state) => completeRun(state, ref("1"), undefined)),
    ];
    await offers.round(records);
    expect(made).toEqual([]);
  });
});

test("a paused run with a place loses its job before it can be resumed without one", async () => {
  await inVirtualTime(async (nowMs) => {
    const { offers, admission, made, withdrawn, execute } = setUp(nowMs);
    admission.setQueue("ws_test", "default", { held: false, maxRunning: 1, maxRunningPerKey: 0, rate: undefined });
    await offers.round([await execute(created())]);
    expect(made).toEqual(["run_1"]);
    const paused = await execute((state) => pauseRun(state, "run_1", { note: "", by }));
    const other = await execute((state) => createRun(state, newRun()), "run_2");
    const resumed = await execute((state, now) => resumeRun(state, "run_1", { note: "", budget: undefined }, now));
    await offers.round([paused, other]);
    await offers.round([resumed]);
    expect(withdrawn).toEqual(["run_1"]);
    expect(made).toEqual(["run_1", "run_2"]);
    expect(offers.waiting()).toBe(1);
    await offers.round([await execute((state) => cancelRun(state, "run_2", ""), "run_2")]);
    expect(made).toEqual(["run_1", "run_2", "run_1"]);
  });
});
