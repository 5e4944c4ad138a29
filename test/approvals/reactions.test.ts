import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ApprovalStatus, ApprovalStatusSchema } from "../../gen/signalbox/v1/approval_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { PolicyPutSchema } from "../../gen/signalbox/v1/policy_event_pb.ts";
import { RunCanceledSchema, RunSuspendedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { OpenApproval } from "../../src/approvals/open-queries.ts";
import { createReactions } from "../../src/approvals/reactions.ts";
import { requestApproval } from "../../src/approvals/request-decider.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import { enumName } from "../../src/kernel/enum-name.ts";
import { sleep } from "../../src/kernel/wait.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import {
  absent,
  APPROVE,
  asking,
  at,
  decide,
  DENY,
  HOLD,
  policyHash,
  principal,
  requested,
  runId,
} from "./approvals.ts";

const otherHash = "b".repeat(64);

interface Rows {
  readonly open?: readonly Partial<OpenApproval>[];
  readonly untold?: readonly string[];
  readonly abandoned?: readonly string[];
  readonly due?: readonly (readonly [id: string, atMs: number])[];
}

/** Reactions over tables with these rows; `done` says what was commanded. */
function setUp(
  { open = [], untold = [], abandoned = [], due = [] }: Rows = {},
  present = policyHash,
  nowMs = () => at().getTime(),
) {
  const done: string[] = [];
  let looks = 0;
  const row = (id: string) => ({ workspace_id: "ws_one", approval_id: id, run_id: runId, policy_hash: policyHash });
  const tables: Record<string, () => readonly object[]> = {
    approvals_open: () =>
      open.map(({ approvalId = "appr_1", ...rest }) => ({
        ...row(approvalId),
        policy_hash: rest.policyHash ?? policyHash,
        create_position: 1n,
      })),
    approvals_untold: () => {
      looks++;
      return untold.map((id) => ({ ...row(id), status: ApprovalStatus.DENIED }));
    },
    approvals_abandoned: () => abandoned.map(row),
    approvals_due: () => due.map(([id, atMs]) => ({ ...row(id), due_time: new Date(atMs) })),
  };
  const reactions = createReactions({
    db: { query: async ({ name }: { name: string }) => ({ rows: tables[name]?.() ?? [] }) } as unknown as Db,
    clock: { now: () => new Date(nowMs()) },
    approvals: {
      passTime: async (_workspaceId, id) => void done.push(`time ${id}`),
      drop: async (_workspaceId, id, reason) => void done.push(`drop ${id}: ${reason}`),
    },
    tellRun: async (_workspaceId, _runId, id, status) =>
      done.push(`tell ${id}: ${enumName(ApprovalStatusSchema, status)}`),
    policyHashOf: async () => present,
    background: { start: (work) => void work() },
  });
  return { reactions, done, looks: () => looks };
}

function record(type: string, id: string, payload: EventPayload, position = 1n): EventRecord {
  return {
    position,
    event: create(EventSchema, {
      workspaceId: "ws_one",
      stream: { type, id },
      type: eventTypes[payload.case],
      payload,
    }),
  } as EventRecord;
}

function of(draft: Draft | undefined, id = "appr_1"): EventRecord {
  if (draft === undefined) throw new Error("nothing was decided");
  return record("approval", id, draft.payload);
}

const request = (now = at(), hash = policyHash) => of(requestApproval(absent, "ws_one", asking({ hash }), [], now));
const canceled = record("run", runId, { case: "runCanceled", value: create(RunCanceledSchema) });
const put = (hash: string) =>
  record("policy", "pol_main", {
    case: "policyPut",
    value: create(PolicyPutSchema, { policy: { policyHash: hash } }),
  });
const suspendedOn = (approvalId: string, position: bigint) =>
  record(
    "run",
    runId,
    {
      case: "runSuspended",
      value: create(RunSuspendedSchema, { conditions: [{ condition: { case: "approval", value: { approvalId } } }] }),
    },
    position,
  );

test.each([
  ["an approval", APPROVE, ["tell appr_1: APPROVED"]],
  ["a denial", DENY, ["tell appr_1: DENIED"]],
  ["a hold", HOLD, []],
])("after %s the run is told what it has to know", (_what, verdict, expected) => {
  const { reactions, done } = setUp();
  using _ = reactions;
  reactions.take(request());
  reactions.take(of(decide(requested(), principal("user:bob"), verdict)));
  expect(done).toEqual(expected);
});

test("who approves first of two tells nobody anything", () => {
  const { reactions, done } = setUp();
  using _ = reactions;
  reactions.take(request());
  reactions.take(of(decide(requested({ terms: { requiredCount: 2 } }), principal("user:bob"), APPROVE)));
  expect(done).toEqual([]);
});

test("when a run ends, what it has asked is canceled, also what the tables knew before", async () => {
  const { reactions, done } = setUp({ open: [{ approvalId: "appr_0" }] });
  using _ = reactions;
  await reactions.start();
  reactions.take(request());
  reactions.take(canceled);
  expect(done).toEqual(["drop appr_0: its run has ended", "drop appr_1: its run has ended"]);
});

test("when the policy changes, what was asked for under another one is canceled, and only that", async () => {
  const { reactions, done } = setUp({ open: [{ approvalId: "appr_0", policyHash: otherHash }] });
  using _ = reactions;
  await reactions.start();
  reactions.take(request());
  reactions.take(put(otherHash));
  expect(done).toEqual(["drop appr_1: the policy has changed"]);
});

test("what is asked for just when the policy has changed is canceled as well", () => {
  const { reactions, done } = setUp();
  using _ = reactions;
  reactions.take(put(otherHash));
  reactions.take(request());
  expect(done).toEqual(["drop appr_1: the policy has changed"]);
});

test("the first sweep finds whatever was missed", async () => {
  const { reactions, done } = setUp(
    { open: [{ approvalId: "appr_0" }], untold: ["appr_u"], abandoned: ["appr_a"] },
    otherHash,
  );
  using _ = reactions;
  await reactions.start();
  await reactions.sweep(1n);
  expect(done.toSorted()).toEqual([
    "drop appr_0: the policy has changed",
    "drop appr_a: its run has ended",
    "tell appr_u: DENIED",
  ]);
});

test("a run that begins to wait for what is decided already is looked up, once the tables show that it waits", async () => {
  const { reactions, looks } = setUp();
  using _ = reactions;
  await reactions.sweep(0n);
  reactions.take(request());
  reactions.take(suspendedOn("appr_1", 9n));
  await reactions.sweep(9n);
  expect(looks()).toBe(1);
  reactions.take(suspendedOn("appr_gone", 10n));
  await reactions.sweep(9n);
  await reactions.sweep(10n);
  await reactions.sweep(11n);
  expect(looks()).toBe(3);
});

test("now and then everything is looked up without a reason", async () => {
  const { reactions, looks } = setUp();
  using _ = reactions;
  for (let sweeps = 0; sweeps < 36; sweeps++) await reactions.sweep(0n);
  expect(looks()).toBe(4);
});

test("time passes at each of its times, heard of or found in the table", async () => {
  await inVirtualTime(async (nowMs) => {
    const { reactions, done } = setUp({ due: [["appr_t", 500]] }, policyHash, nowMs);
    using _ = reactions;
    const ask = asking({ terms: { ttl: { seconds: 2n }, escalateAfter: { seconds: 1n }, escalateTo: ["user:lea"] } });
    reactions.take(of(requestApproval(absent, "ws_one", ask, [], new Date(nowMs()))));
    await reactions.sweep(0n);
    await sleep(600);
    expect(done).toEqual(["time appr_t"]);
    await sleep(600);
    expect(done).toEqual(["time appr_t", "time appr_1"]);
    await sleep(1_000);
    expect(done).toEqual(["time appr_t", "time appr_1", "time appr_1"]);
  });
});
