import { clone, create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { ApprovalTermsSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { jsonValue, reasonOf, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import type { PolicyGate } from "../../src/policy/gate.ts";
import { createAndClaim } from "../e2e/claims.ts";
import { askByCall, decision, mail, mailOf } from "../e2e/people.ts";
import { checkInvariants, type LogEvent } from "../support/invariants.ts";
import { openGate } from "../support/open-gate.ts";
import { checkApprovals, type Effect } from "./support/approval-invariants.ts";
import { checkKillSwitches, type Told } from "./support/kill-switch-invariants.ts";
import { openMemoryWorld } from "./support/memory-world.ts";

const workspaceId = "ws_checked";
const world = await openMemoryWorld();
afterAll(() => world[Symbol.asyncDispose]());

/** Two runs: the mail of one is edited, approved and sent, that of the other is denied. */
async function honestHistory(client: SignalboxClient): Promise<{ log: LogEvent[]; effects: Effect[] }> {
  const [alice, bob] = [client.onBehalfOf("user:alice"), client.onBehalfOf("user:bob")];
  const sending = await askByCall(client);
  const { approvalId, payloadDigest } = sending.approval;
  const edit = { approvalId, payloadDigest, payload: jsonValue({ text: "good day", copies: 1.5, Z: null, a: [] }) };
  const { approval: edited } = await alice.approvals.editApproval(edit);
  if (edited === undefined) throw new Error("not edited");
  await bob.approvals.decideApproval(decision(edited));
  const { leaseToken } = sending.claimed;
  const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mailOf("hello") });
  const toolCallId = toolCall?.toolCallId ?? "";
  await client.engine.succeedToolCall({ leaseToken, toolCallId });
  await client.engine.completeRun({ leaseToken });

  const silent = await askByCall(client);
  await bob.approvals.decideApproval(decision(silent.approval, ApprovalVerdict.DENY));
  const refused = { leaseToken: silent.claimed.leaseToken, ...mailOf("hello") };
  expect(await client.engine.startToolCall(refused).catch(reasonOf)).toBe("APPROVAL_DENIED");
  await client.engine.failRun({ leaseToken: refused.leaseToken, error: { code: "APPROVAL_DENIED" } });
  return { log: await world.log(), effects: [{ toolCallId, args: valueToJson(toolCall?.arguments) ?? null }] };
}

const { log: honest, effects: sent } = await honestHistory(world.client(workspaceId));

type Case = EventPayload["case"];
type Of<C extends Case> = Extract<EventPayload, { case: C }>["value"];

/** The history with another event in the place of the first of its kind. */
function changed<C extends Case>(kind: C, change: (value: Of<C>, event: LogEvent["event"]) => void): LogEvent[] {
  const place = indexOf(kind);
  return honest.map((entry, index) => {
    if (index !== place) return entry;
    const event = clone(EventSchema, entry.event);
    change(event.payload.value as Of<C>, event);
    return { ...entry, event };
  });
}

function indexOf(kind: Case): number {
  const place = honest.findIndex(({ event }) => event.payload.case === kind);
  if (place < 0) throw new Error(`the history has no ${kind}`);
  return place;
}

function without(kind: Case): LogEvent[] {
  return honest.toSpliced(indexOf(kind), 1);
}

function twice(kind: Case): LogEvent[] {
  const entry = honest[indexOf(kind)];
  return entry === undefined ? [] : honest.toSpliced(indexOf(kind), 0, entry);
}

/** The first of its kind comes right before the first of another one. */
function moved(kind: Case, before: Case): LogEvent[] {
  const entry = honest[indexOf(kind)];
  return entry === undefined ? [] : without(kind).toSpliced(indexOf(before), 0, entry);
}

/** A day and an hour later: its time is over. */
function muchLater(event: LogEvent["event"]): void {
  event.createTime = timestampFromMs((event.createTime ? timestampMs(event.createTime) : 0) + 25 * 3_600_000);
}

const agent = create(PrincipalSchema, { type: PrincipalType.AGENT, id: "agt_1" });
const bob = create(PrincipalSchema, { type: PrincipalType.USER, id: "bob" });

/** Everything that may not be, with what the checker says to it. */
const wrongs: [what: string, history: () => LogEvent[], problem: string][] = [
  ["consumed twice", () => twice("approvalConsumed"), "it is consumed already"],
  ["started before it is consumed", () => moved("toolCallStarted", "approvalConsumed"), "which is approved"],
  ["started and never consumed", () => without("approvalConsumed"), "which is approved"],
  ["started twice with it", () => twice("toolCallStarted"), "again"],
  ["consumed undecided", () => without("approvalDecided"), "it is consumed while it is open"],
  ["asked for by nobody", () => without("approvalRequested"), "nobody has asked for it"],
  [
    "consumed with another digest",
    () => changed("approvalConsumed", (value) => void (value.payloadDigest = "00")),
    "what is consumed is not what was approved",
  ],
  [
    "consumed by another run",
    () => changed("approvalConsumed", (value) => void (value.runId = "run_1")),
    "it is consumed by another call",
  ],
  [
    "consumed by another call",
    () => changed("approvalConsumed", (value) => void (value.toolCallId = "tc_1")),
    "it is consumed by another call",
  ],
  [
    "consumed under another policy",
    () => changed("approvalConsumed", (value) => void (value.policyHash = "00")),
    "under another policy",
  ],
  ["consumed too late", () => changed("approvalConsumed", (_, event) => muchLater(event)), "consumed after its time"],
  ["decided too late", () => changed("approvalDecided", (_, event) => muchLater(event)), "decided after its time"],
  [
    "decided by an agent",
    () => changed("approvalDecided", (value) => void (value.decideBy = agent)),
    "agent:agt_1 may not decide",
  ],
  [
    "decided by who is not named",
    () =>
      changed("approvalRequested", ({ decision: judged }) => {
        if (judged?.terms) judged.terms.deciders = ["user:carol"];
      }),
    "user:bob may not decide",
  ],
  [
    "approved by one of two",
    () =>
      changed("approvalRequested", ({ decision: judged }) => {
        if (judged) judged.terms = create(ApprovalTermsSchema, { requiredCount: 2 });
      }),
    "too few have approved it",
  ],
  [
    "approved by who has asked, in high_stakes",
    () =>
      changed("approvalRequested", (value, event) => {
        event.zone = Zone.HIGH_STAKES;
        value.requestedBy = create(PrincipalSchema, { ...agent, onBehalfOf: [bob] });
      }),
    "user:bob approves what is their own",
  ],
  [
    "approved before the edit",
    () => moved("approvalDecided", "approvalEdited"),
    "another payload than the present one is decided on",
  ],
  [
    "edited under the old digest",
    () => changed("approvalEdited", (value) => void (value.payload = jsonValue({ text: "other" }))),
    "the digest is not the edited payload's",
  ],
  [
    "asked for with another payload",
    () => changed("approvalRequested", (value) => void (value.payload = jsonValue({ text: "other" }))),
    "the digest is not the payload's",
  ],
  [
    "started with other arguments",
    () => changed("toolCallStarted", (value) => void (value.arguments = jsonValue({ text: "hello" }))),
    "what is started is not what was approved",
  ],
  [
    "started on another target",
    () => changed("toolCallStarted", (value) => void (value.target = "mailto:eve@example.com")),
    "what is started is not what was approved",
  ],
  [
    "started with another digest",
    () => changed("toolCallStarted", (value) => void (value.payloadDigest = "00")),
    "it is not started with the digest",
  ],
  [
    "started without leave",
    () => changed("toolCallStarted", (value) => void (value.approvalId = "")),
    "an external write without leave",
  ],
  [
    "refused, though nobody has denied it",
    () =>
      changed("toolCallDenied", (value) => {
        value.approvalId = honest[indexOf("approvalRequested")]?.event.stream?.id ?? "";
      }),
    "nobody has denied it",
  ],
  ["told twice", () => twice("runApprovalDecided"), "hears of the same decision again"],
  [
    "told the opposite",
    () => changed("runApprovalDecided", (value) => void (value.status = ApprovalStatus.DENIED)),
    "the run hears that it is denied",
  ],
];

describe("the checker of approvals", () => {
  test("has nothing to say of an honest history", () => {
    expect(checkApprovals(honest, sent)).toEqual([]);
    expect(checkInvariants({ log: honest.map(({ stored }) => stored), operations: [] })).toEqual([]);
  });

  test.each(wrongs)("sees what is %s", (_what, history, problem) => {
    expect(checkApprovals(history(), sent).map((each) => each.problem)).toContainEqual(
      expect.stringContaining(problem),
    );
  });

  const [mailed] = sent;
  const effect: Effect = mailed ?? { toolCallId: "", args: null };
  test.each([
    ["happens twice", [effect, effect], "it happens again"],
    ["is not what was started", [{ ...effect, args: { text: "hello" } }], "it was started with something else"],
    ["was never started", [{ ...effect, toolCallId: "tc_1" }], "it was never started"],
  ])("sees an effect that %s", (_what, effects, problem) => {
    expect(checkApprovals(honest, effects).map((each) => each.problem)).toEqual([problem]);
  });
});

/** A write between whose judgement and start a switch is flipped, and what its worker is told. */
async function flippedBetween(spoil: (gate: PolicyGate) => PolicyGate) {
  let flip = async () => {};
  await using own = await openMemoryWorld((gate) => ({
    ...spoil(gate),
    async judge(...asked) {
      const judged = await gate.judge(...asked);
      await flip();
      return judged;
    },
  }));
  const client = own.client(workspaceId);
  await openGate(client);
  const { leaseToken } = await createAndClaim(client);
  flip = async () => void (await client.policy.setKillSwitch({ on: true, reason: "enough" }));
  const told: Told[] = [];
  let reason: string | undefined;
  try {
    const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mail });
    const { toolCallId = "", lastStartPosition: position = 0n } = toolCall ?? {};
    told.push({ workspaceId, toolCallId, position });
    await client.engine.succeedToolCall({ leaseToken, toolCallId });
  } catch (error) {
    reason = reasonOf(error);
  }
  const problems = checkKillSwitches(await own.log(), told).map(({ problem }) => problem);
  return { reason, problems };
}

describe("the checker of kill switches", () => {
  test("has nothing to say of a start that is taken back", async () => {
    expect(await flippedBetween((gate) => gate)).toEqual({ reason: "KILL_SWITCH_ON", problems: [] });
  });

  test("sees a gate that does not look again after the start", async () => {
    const blind = (gate: PolicyGate): PolicyGate => ({
      ...gate,
      externalWrites: async (id) => ({ ...(await gate.externalWrites(id)), stoppedAt: () => false }),
    });
    const { problems } = await flippedBetween(blind);
    expect(problems).toEqual(["it started behind a flip", "its worker was told to go"]);
  });
});
