import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { consumeApproval } from "../../src/approvals/consume-decider.ts";
import { cancelApproval, passTime } from "../../src/approvals/lapse-decider.ts";
import { requestApproval } from "../../src/approvals/request-decider.ts";
import type { ApprovalState } from "../../src/approvals/state.ts";
import { jsonValue } from "../../src/client/client.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import {
  absent,
  after,
  agentName,
  APPROVE,
  approvalOf,
  asking,
  at,
  decide,
  decided,
  delegate,
  delegated,
  DENY,
  edit,
  edited,
  HOLD,
  policyHash,
  principal,
  requested,
  role,
  ttlMs,
  use,
  workspaceId,
} from "./approvals.ts";

const reason = (name: string): unknown => expect.objectContaining({ reason: name });
const other = jsonValue({ to: "carol@example.com" });
const soon = at(1_000);
const late = at(ttlMs);

const pending = requested();
const held = decided(pending, "user:bob", HOLD);
const approved = decided(pending, "user:bob", APPROVE);
const states: Record<string, ApprovalState> = {
  absent,
  pending,
  held,
  approved,
  denied: decided(pending, "user:bob", DENY),
  expired: after(pending, passTime(pending, late), late),
  consumed: after(approved, consumeApproval(approved, use(), soon), soon),
  canceled: after(pending, cancelApproval(pending, "why not"), soon),
};

/** What came of a command: the type of the event, the reason of the refusal, or `nothing`. */
function outcomeOf(command: () => { payload: { case: string } } | undefined): string {
  try {
    return command()?.payload.case ?? "nothing";
  } catch (error) {
    if (error instanceof SignalboxError) return error.reason;
    throw error;
  }
}

const carol = principal("user:carol");
const commands: Record<string, (state: ApprovalState) => string> = {
  request: (state) => outcomeOf(() => requestApproval(state, workspaceId, asking(), [], soon)),
  approve: (state) => outcomeOf(() => decide(state, carol, APPROVE, soon)),
  "approve without digest": (state) => outcomeOf(() => decide(state, carol, APPROVE, soon, "")),
  deny: (state) => outcomeOf(() => decide(state, carol, DENY, soon, "")),
  hold: (state) => outcomeOf(() => decide(state, carol, HOLD, soon, "")),
  edit: (state) => outcomeOf(() => edit(state, carol, other, soon)),
  delegate: (state) => outcomeOf(() => delegate(state, carol, "user:dave", soon)),
  consume: (state) => outcomeOf(() => consumeApproval(state, use(), soon)),
  cancel: (state) => outcomeOf(() => cancelApproval(state, "over")),
  "time passes": (state) => outcomeOf(() => passTime(state, soon)),
  "time is over": (state) => outcomeOf(() => passTime(state, late)),
  "approve late": (state) => outcomeOf(() => decide(state, carol, APPROVE, late)),
  "deny late": (state) => outcomeOf(() => decide(state, carol, DENY, late)),
  "edit late": (state) => outcomeOf(() => edit(state, carol, other, late)),
  "delegate late": (state) => outcomeOf(() => delegate(state, carol, "user:dave", late)),
  "consume late": (state) => outcomeOf(() => consumeApproval(state, use(), late)),
};

const over = "approvalExpired";
const table: Record<string, readonly string[]> = {
  request: ["approvalRequested", ...Array<string>(7).fill("nothing")],
  approve: ["D", "approvalDecided", "approvalDecided", "A", "A", "E", "C", "X"],
  "approve without digest": Array<string>(8).fill("INVALID_REQUEST"),
  deny: ["N", "approvalDecided", "approvalDecided", "A", "A", "E", "C", "X"],
  hold: ["N", "approvalDecided", "approvalDecided", "A", "A", "E", "C", "X"],
  edit: ["N", "approvalEdited", "approvalEdited", "A", "A", "E", "C", "X"],
  delegate: ["N", "approvalDelegated", "approvalDelegated", "A", "A", "E", "C", "X"],
  consume: ["N", "R", "R", "approvalConsumed", "APPROVAL_DENIED", "E", "nothing", "X"],
  cancel: ["nothing", "approvalCanceled", "approvalCanceled", "approvalCanceled", ...Array<string>(4).fill("nothing")],
  "time passes": Array<string>(8).fill("nothing"),
  "time is over": ["nothing", over, "nothing", over, ...Array<string>(4).fill("nothing")],
  "approve late": ["D", "E", "approvalDecided", "E", "A", "E", "C", "X"],
  "deny late": ["N", "E", "approvalDecided", "E", "A", "E", "C", "X"],
  "edit late": ["N", "E", "approvalEdited", "E", "A", "E", "C", "X"],
  "delegate late": ["N", "E", "approvalDelegated", "E", "A", "E", "C", "X"],
  "consume late": ["N", "E", "R", "E", "APPROVAL_DENIED", "E", "nothing", "X"],
};
const long: Record<string, string> = {
  // Without an approval there is no digest to give.
  D: "INVALID_REQUEST",
  N: "APPROVAL_NOT_FOUND",
  A: "APPROVAL_ALREADY_DECIDED",
  E: "APPROVAL_EXPIRED",
  C: "APPROVAL_CONSUMED",
  X: "INVALID_STATE",
  R: "APPROVAL_REQUIRED",
};

describe("every command in every status", () => {
  test.each(Object.keys(commands))("%s", (name) => {
    const found = Object.values(states).map((state) => commands[name]?.(state));
    expect(found).toEqual(table[name]?.map((short) => long[short] ?? short));
  });

  test("a decision made once more by the same one records nothing", () => {
    for (const [status, state] of Object.entries(states)) {
      for (const verdict of [APPROVE, DENY, HOLD]) {
        if (outcomeOf(() => decide(state, carol, verdict, soon)) !== "approvalDecided") continue;
        const next = after(state, decide(state, carol, verdict, soon), soon);
        expect([status, verdict, decide(next, carol, verdict, at(2_000))]).toEqual([status, verdict, undefined]);
      }
    }
  });
});

describe("a request", () => {
  test("says everything that people need to decide", () => {
    expect(approvalOf(pending)).toMatchObject({
      status: ApprovalStatus.PENDING,
      payloadDigest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      requiredCount: 1,
      deciders: [],
      reasonCodes: ["EXTERNAL_WRITE"],
      message: "mails leave the house",
      matchedRule: "default.external_write",
      policyVersion: 3n,
      policyHash,
      expireTime: timestampFromMs(at(ttlMs).getTime()),
      ttlMs: BigInt(ttlMs),
      position: 10n,
    });
  });

  test("names the members of roles as they are, each once", () => {
    const terms = { deciders: ["role:finance", "user:bob"], requiredCount: 2 };
    const approval = approvalOf(requested({ terms }, [role("finance", "user:ann", "user:bob")]));
    expect(approval).toMatchObject({ deciders: ["user:ann", "user:bob"], requiredApprovers: terms.deciders });
  });

  test("of a role that there is not is refused", () => {
    expect(() => requested({ terms: { deciders: ["role:nobody"] } })).toThrow(reason("INVALID_REQUEST"));
  });

  test("of a role without members lets nobody decide", () => {
    const state = requested({ terms: { deciders: ["role:empty"] } }, [role("empty")]);
    expect(() => decide(state, principal("user:bob"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
  });

  test("is valid for a day when nothing else is said, and for a second at least", () => {
    const state = requested({ terms: { ttl: durationFromMs(0) } });
    expect(approvalOf(state).expireTime).toEqual(timestampFromMs(at(86_400_000).getTime()));
    expect(() => requested({ terms: { ttl: durationFromMs(999) } })).toThrow(reason("INVALID_REQUEST"));
  });

  test("keeps the payload once: the recorded decision goes without", () => {
    const ask = asking();
    const { decision } = ask;
    const context = { ...decision, context: { payload: ask.payload, handler: "h" } };
    const draft = requestApproval(absent, workspaceId, { ...ask, decision: context as never }, [], at());
    if (draft?.payload.case !== "approvalRequested") throw new Error("nothing was requested");
    expect(draft.payload.value.decision?.context).toMatchObject({ handler: "h", payload: undefined });
  });
});

describe("deciding", () => {
  test("on another digest is refused, and the right one is not told", () => {
    const wrong = "f".repeat(64);
    for (const verdict of [APPROVE, DENY, HOLD]) {
      expect(() => decide(pending, carol, verdict, soon, wrong)).toThrow(reason("PAYLOAD_MISMATCH"));
    }
    const digest = approvalOf(pending).payloadDigest;
    for (const given of [wrong, ""]) {
      expect(() => decide(pending, carol, APPROVE, soon, given)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining(digest) as string }),
      );
    }
  });

  test("takes as many different people as have to approve", () => {
    const first = decided(requested({ terms: { requiredCount: 2 } }), "user:bob", APPROVE);
    expect(approvalOf(first)).toMatchObject({ status: ApprovalStatus.PENDING, approveCount: 1 });
    expect(decide(first, principal("user:bob"), APPROVE)).toBeUndefined();
    expect(decide(first, principal("service:gateway", "user:bob"), APPROVE)).toBeUndefined();
    const second = decided(first, "user:carol", APPROVE);
    expect(approvalOf(second)).toMatchObject({ status: ApprovalStatus.APPROVED, approveCount: 2 });
  });

  test("one denial is enough, also of who has approved before", () => {
    const first = decided(requested({ terms: { requiredCount: 2 } }), "user:bob", APPROVE);
    expect(approvalOf(decided(first, "user:bob", DENY)).status).toBe(ApprovalStatus.DENIED);
    expect(approvalOf(decided(first, "user:carol", DENY)).status).toBe(ApprovalStatus.DENIED);
  });

  test("counts the person behind a program, and an agent never as a person", () => {
    const draft = decide(pending, principal("service:gateway", "user:bob"), APPROVE);
    if (draft?.payload.case !== "approvalDecided") throw new Error("nothing was decided");
    expect(draft.payload.value.decideBy).toMatchObject({ id: "bob", onBehalfOf: [] });
    for (const who of [principal(agentName), principal("agent:x", "user:bob"), principal("service:g", "agent:x")]) {
      expect(() => decide(pending, who, APPROVE)).toThrow(reason("PERMISSION_DENIED"));
    }
    const named = requested({ terms: { deciders: ["agent:x"] } });
    expect(approvalOf(decided(named, "agent:x", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
    expect(() => decide(named, principal("user:bob"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
  });
});

describe("a hold", () => {
  test("stops the clock, and an approval afterwards has all its time again", () => {
    expect(approvalOf(held)).toMatchObject({ status: ApprovalStatus.HELD, expireTime: undefined });
    const muchLater = at(100 * ttlMs);
    expect(passTime(held, muchLater)).toBeUndefined();
    const again = approvalOf(decided(held, "user:bob", APPROVE, muchLater));
    expect(again).toMatchObject({
      status: ApprovalStatus.APPROVED,
      expireTime: timestampFromMs(muchLater.getTime() + ttlMs),
    });
    expect(approvalOf(decided(held, "user:carol", DENY, muchLater)).status).toBe(ApprovalStatus.DENIED);
  });

  test("takes back what the same person has approved", () => {
    const first = decided(requested({ terms: { requiredCount: 2 } }), "user:bob", APPROVE);
    const state = decided(decided(first, "user:bob", HOLD), "user:carol", APPROVE);
    expect(approvalOf(state)).toMatchObject({ status: ApprovalStatus.PENDING, approveCount: 1 });
  });

  test("is over when somebody approves, enough or not", () => {
    const two = decided(requested({ terms: { requiredCount: 2 } }), "user:bob", APPROVE);
    const holding = decided(two, "user:carol", HOLD);
    expect(approvalOf(decided(holding, "user:bob", APPROVE))).toMatchObject({ status: ApprovalStatus.PENDING });
    expect(approvalOf(decided(holding, "user:carol", APPROVE))).toMatchObject({ status: ApprovalStatus.APPROVED });
  });
});

describe("an edit", () => {
  test("makes another digest, on which everybody has to decide anew", () => {
    const first = decided(requested({ terms: { requiredCount: 2 } }), "user:bob", APPROVE);
    const state = edited(first, "user:carol", other);
    expect(approvalOf(state)).toMatchObject({
      edited: true,
      editedBy: { id: "carol" },
      approveCount: 0,
      payload: other,
    });
    expect(approvalOf(state).payloadDigest).not.toBe(approvalOf(first).payloadDigest);
    const digest = approvalOf(first).payloadDigest;
    expect(() => decide(state, principal("user:dave"), APPROVE, soon, digest)).toThrow(reason("PAYLOAD_MISMATCH"));
    expect(approvalOf(decided(state, "user:dave", APPROVE))).toMatchObject({ approveCount: 1 });
  });

  test("back to what was approved before does not bring the approvals back", () => {
    const two = requested({ terms: { requiredCount: 2 } });
    const there = edited(decided(two, "user:bob", APPROVE), "user:carol", other);
    const back = edited(there, "user:carol", asking().payload!);
    expect(approvalOf(back).payloadDigest).toBe(approvalOf(two).payloadDigest);
    expect(approvalOf(decided(back, "user:dave", APPROVE))).toMatchObject({
      status: ApprovalStatus.PENDING,
      approveCount: 1,
    });
  });

  test("of a payload that is not there any more is refused; the same edit again is fine", () => {
    const state = edited(pending, "user:bob", other);
    const digest = approvalOf(pending).payloadDigest;
    expect(edit(state, principal("user:bob"), other, soon, digest)).toBeUndefined();
    expect(() => edit(state, carol, other, soon, digest)).toThrow(reason("PAYLOAD_MISMATCH"));
    expect(() => edit(state, carol, jsonValue(1), soon, digest)).toThrow(reason("PAYLOAD_MISMATCH"));
  });

  test("leaves a hold as it is", () => {
    expect(approvalOf(edited(held, "user:carol", other)).status).toBe(ApprovalStatus.HELD);
  });

  test("comes to an end, and approving does not", () => {
    let state = pending;
    for (let n = 0; n < 199; n++) state = edited(state, "user:bob", jsonValue(n));
    expect(() => edit(state, principal("user:bob"), other)).toThrow(reason("QUOTA_EXCEEDED"));
    expect(() => decide(state, principal("user:bob"), HOLD)).toThrow(reason("QUOTA_EXCEEDED"));
    expect(approvalOf(decided(state, "user:bob", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
  });
});

describe("in the zone high_stakes", () => {
  const risky = requested({ zone: Zone.HIGH_STAKES });

  test("nobody in the chain of who asks may approve, or choose who does; they may deny and hold", () => {
    const named = requested({ zone: Zone.HIGH_STAKES, terms: { deciders: [agentName, "user:alice", "user:bob"] } });
    for (const name of [agentName, "user:alice"]) {
      expect(() => decide(named, principal(name), APPROVE)).toThrow(reason("SELF_APPROVAL"));
      expect(() => delegate(named, principal(name), "user:dave")).toThrow(reason("SELF_APPROVAL"));
      expect(approvalOf(decided(named, name, DENY)).status).toBe(ApprovalStatus.DENIED);
      expect(approvalOf(decided(named, name, HOLD)).status).toBe(ApprovalStatus.HELD);
    }
    expect(approvalOf(decided(risky, "user:bob", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
  });

  test("what comes through the one who asks is that one, whomever else it names", () => {
    const byHandler = requested({
      zone: Zone.HIGH_STAKES,
      requestedBy: principal("service:handler:pay", "user:alice"),
    });
    const disguised = principal("service:static_token", "service:handler:pay");
    expect(() => decide(byHandler, disguised, APPROVE)).toThrow(reason("SELF_APPROVAL"));
    const named = principal("service:static_token", "service:handler:pay", "user:bob");
    expect(() => decide(byHandler, named, APPROVE)).toThrow(reason("SELF_APPROVAL"));
  });

  test("who wrote the present payload may not approve it; who wrote the one before may", () => {
    const byBob = edited(risky, "user:bob", other);
    expect(() => decide(byBob, principal("user:bob"), APPROVE)).toThrow(reason("SELF_APPROVAL"));
    const byCarol = edited(byBob, "user:carol", jsonValue(7));
    expect(approvalOf(decided(byCarol, "user:bob", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
  });

  test("elsewhere they may", () => {
    expect(approvalOf(decided(pending, "user:alice", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
    expect(approvalOf(decided(edited(pending, "user:bob", other), "user:bob", APPROVE)).status).toBe(
      ApprovalStatus.APPROVED,
    );
  });
});

describe("delegation", () => {
  const two = requested({ terms: { requiredCount: 2, deciders: ["user:ann", "user:bob", "agent:x"] } });

  test("lets the other one decide instead, along a chain and back", () => {
    const toDave = delegated(two, "user:ann", "user:dave");
    expect(approvalOf(toDave)).toMatchObject({
      deciders: ["user:bob", "agent:x", "user:dave"],
      delegatedBy: ["user:ann"],
    });
    expect(() => decide(toDave, principal("user:ann"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
    expect(delegate(toDave, principal("user:ann"), "user:dave")).toBeUndefined();
    const toEve = delegated(toDave, "user:dave", "user:eve");
    expect(() => decide(toEve, principal("user:dave"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
    const back = delegated(toEve, "user:eve", "user:ann");
    expect(approvalOf(decided(back, "user:ann", APPROVE))).toMatchObject({ approveCount: 1 });
  });

  test("where everybody may decide, only the one who delegates does not any more", () => {
    const state = delegated(pending, "user:ann", "user:dave");
    expect(() => decide(state, principal("user:ann"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
    expect(approvalOf(decided(state, "user:carol", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
  });

  test("is for those who may decide and have not", () => {
    expect(() => delegate(two, principal("user:mallory"), "user:dave")).toThrow(reason("PERMISSION_DENIED"));
    const approvedOnce = decided(two, "user:ann", APPROVE);
    expect(() => delegate(approvedOnce, principal("user:ann"), "user:dave")).toThrow(
      reason("APPROVAL_ALREADY_DECIDED"),
    );
  });

  test.each([
    ["to oneself", "user:ann"],
    ["to an agent that nobody named", "agent:y"],
    ["to no principal", "role:finance"],
  ])("%s is refused", (_what, to) => {
    expect(() => delegate(two, principal("user:ann"), to)).toThrow(reason("INVALID_REQUEST"));
  });

  test("to one who decides already is refused when too few would be left", () => {
    const state = delegated(two, "user:ann", "agent:x");
    expect(approvalOf(state).deciders).toEqual(["user:bob", "agent:x"]);
    expect(() => delegate(state, principal("user:bob"), "agent:x")).toThrow(reason("INVALID_REQUEST"));
  });
});

describe("time", () => {
  const terms = {
    deciders: ["user:ann"],
    escalateAfter: durationFromMs(60_000),
    escalateTo: ["role:leads"],
  };
  const escalating = requested({ terms }, [role("leads", "user:lea", "user:lou")]);

  test("lets more people decide, and allows nothing", () => {
    expect(passTime(escalating, at(59_999))).toBeUndefined();
    expect(() => decide(escalating, principal("user:lea"), APPROVE)).toThrow(reason("PERMISSION_DENIED"));
    const state = after(escalating, passTime(escalating, at(60_000)), at(60_000));
    expect(approvalOf(state)).toMatchObject({
      status: ApprovalStatus.PENDING,
      escalated: true,
      escalateTime: undefined,
      deciders: ["user:ann", "user:lea", "user:lou"],
    });
    expect(passTime(state, at(60_001))).toBeUndefined();
    expect(approvalOf(decided(state, "user:lea", APPROVE)).status).toBe(ApprovalStatus.APPROVED);
  });

  test("does not escalate what is held or decided", () => {
    const holding = decided(escalating, "user:ann", HOLD);
    expect(passTime(holding, at(60_000))).toBeUndefined();
    expect(passTime(decided(escalating, "user:ann", APPROVE), at(60_000))).toBeUndefined();
  });

  test("ends what was approved and not used, which is no denial", () => {
    const state = after(approved, passTime(approved, late), late);
    expect(approvalOf(state)).toMatchObject({ status: ApprovalStatus.EXPIRED, approveCount: 1 });
  });
});

describe("the checks of a use", () => {
  test.each([
    ["another run", { runId: "run_other" }],
    ["another call", { toolCallId: "tc_other" }],
    ["a step", { toolCallId: "", stepId: "step_1" }],
  ])("1: by %s does not find it, used or not", (_who, fields) => {
    for (const state of Object.values(states)) {
      expect(() => consumeApproval(state, use(fields), soon)).toThrow(reason("APPROVAL_NOT_FOUND"));
    }
  });

  test("2: who denied it, and why, is told", () => {
    const denied = states["denied"] ?? absent;
    expect(() => consumeApproval(denied, use(), soon)).toThrow(/denied by user:bob: because$/);
  });

  test("4: under another policy it is void", () => {
    expect(() => consumeApproval(approved, use({ policyHash: "b".repeat(64) }), soon)).toThrow(reason("INVALID_STATE"));
  });

  const tampered = (fields: object): ApprovalState =>
    ({ ...approved, approval: { ...approvalOf(approved), ...fields } }) as ApprovalState;

  test("5: a payload or an action that is not what was decided on is refused", () => {
    expect(() => consumeApproval(tampered({ payload: other }), use(), soon)).toThrow(reason("PAYLOAD_MISMATCH"));
    const action = { ...approvalOf(approved).action, target: "mailto:mallory@example.com" };
    expect(() => consumeApproval(tampered({ action }), use(), soon)).toThrow(reason("PAYLOAD_MISMATCH"));
  });

  test("6: too few of those who may decide are refused", () => {
    expect(() => consumeApproval(tampered({ requiredCount: 2 }), use(), soon)).toThrow(reason("PERMISSION_DENIED"));
    const strangers = { requiredApprovers: ["user:ann"], deciders: ["user:ann"] };
    expect(() => consumeApproval(tampered(strangers), use(), soon)).toThrow(reason("PERMISSION_DENIED"));
  });

  test("7: somebody who has a part in it is refused", () => {
    const self = { zone: Zone.HIGH_STAKES, requestedBy: principal(agentName, "user:bob") };
    expect(() => consumeApproval(tampered(self), use(), soon)).toThrow(reason("SELF_APPROVAL"));
  });

  test("the same call again, under a new lease, records nothing", () => {
    const consumed = states["consumed"] ?? absent;
    expect(consumeApproval(consumed, use({ leaseId: "lease_2" }), late)).toBeUndefined();
    expect(approvalOf(consumed).consumption).toMatchObject({ leaseId: "lease_1", position: 30n });
  });
});
