import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { consumeApproval } from "../../src/approvals/consume-decider.ts";
import { payloadDigest } from "../../src/approvals/digest.ts";
import { cancelApproval, passTime } from "../../src/approvals/lapse-decider.ts";
import { type ApprovalState, evolveApprovalState } from "../../src/approvals/state.ts";
import { jsonValue } from "../../src/client/client.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { principalName } from "../../src/kernel/principal.ts";
import {
  agentName,
  APPROVE,
  approvalOf,
  asking,
  at,
  decide,
  delegate,
  DENY,
  edit,
  eventOf,
  HOLD,
  principal,
  requested,
  role,
  ttlMs,
  use,
} from "./approvals.ts";

type Command = (state: ApprovalState, now: Date) => Draft | undefined;

const names = ["user:alice", "user:bob", "user:carol", "user:lea", agentName, "agent:x"];
const someone = fc.constantFrom(...names);
const digests = fc.constantFrom(...Array<undefined>(9).fill(undefined), "f".repeat(64));

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(someone, fc.constantFrom(...Array<typeof APPROVE>(16).fill(APPROVE), HOLD, HOLD, HOLD, DENY), digests)
      .map(
        ([name, verdict, digest]): Command =>
          (state, now) =>
            decide(state, principal(name), verdict, now, digest),
      ),
  },
  fc.tuple(someone, fc.integer({ min: 0, max: 3 })).map(
    ([name, n]): Command =>
      (state, now) =>
        edit(state, principal(name), n === 0 ? asking().payload! : jsonValue(n), now),
  ),
  fc.tuple(someone, someone).map(
    ([name, to]): Command =>
      (state, now) =>
        delegate(state, principal(name), to, now),
  ),
  fc.constant<Command>(passTime),
  {
    weight: 6,
    arbitrary: fc
      .constantFrom({}, {}, {}, {}, { runId: "run_other" }, { policyHash: "b".repeat(64) }, { leaseId: "lease_2" })
      .map(
        (fields): Command =>
          (state, now) =>
            consumeApproval(state, use(fields), now),
      ),
  },
  fc.nat(9).map(
    (n): Command =>
      (state) =>
        n === 0 ? cancelApproval(state, "over") : undefined,
  ),
);

interface Step {
  readonly command: Command;
  readonly pauseMs: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  command,
  pauseMs: fc.constantFrom(0, 0, 1, 1, 1, 1, 1_000, 1_000, 60_000, 60_000, ttlMs / 2, ttlMs),
});

const setting = fc.record({
  zone: fc.constantFrom(Zone.SUPERVISED, Zone.HIGH_STAKES),
  terms: fc.record({
    requiredCount: fc.integer({ min: 1, max: 3 }),
    deciders: fc.subarray(["user:alice", "user:bob", "role:finance"]),
    ttl: fc.constant(durationFromMs(ttlMs)),
    escalateAfter: fc.constantFrom(undefined, durationFromMs(60_000)),
    escalateTo: fc.constant(["user:lea"]),
  }),
});

interface Recorded {
  readonly event: Event;
  readonly before: ApprovalState;
  readonly after: ApprovalState;
  readonly now: Date;
}

/** What is recorded when the commands come one after the other; those that are refused leave nothing. */
function play({ zone, terms }: { zone: Zone; terms: object }, steps: readonly Step[]): Recorded[] {
  let state = requested({ zone, terms }, [role("finance", "user:carol", "agent:x")]);
  let nowMs = 0;
  const recorded: Recorded[] = [];
  for (const { command: perform, pauseMs } of steps) {
    nowMs += pauseMs;
    const now = at(nowMs);
    const draft = attempt(() => perform(state, now));
    if (draft === undefined || state.status === "absent") continue;
    const event = eventOf(draft, state.changes + 1n, now);
    const next = evolveApprovalState(state, event);
    recorded.push({ event, before: state, after: next, now });
    state = next;
  }
  return recorded;
}

function attempt(perform: () => Draft | undefined): Draft | undefined {
  try {
    return perform();
  } catch (error) {
    if (error instanceof SignalboxError) return undefined;
    throw error;
  }
}

/** Plays many histories; returns what `flawIn` says of the first that has a flaw, and in how many something was used. */
function findFlaw(flawIn: (history: readonly Recorded[]) => string | undefined) {
  let used = 0;
  const check = fc.check(
    fc.property(setting, fc.array(step, { minLength: 5, maxLength: 30, size: "max" }), (given, steps) => {
      const history = play(given, steps);
      if (history.some(isUse)) used++;
      return flawIn(history) === undefined;
    }),
    { numRuns: 600 },
  );
  const [given, steps] = check.counterexample ?? [];
  const flaw =
    given && steps ? `${flawIn(play(given, steps))}, seed ${check.seed}, path ${check.counterexamplePath}` : "";
  return { flaw, used };
}

const isUse = ({ event }: Recorded) => event.payload.case === "approvalConsumed";
const nameOf = (who: Principal | undefined) => (who === undefined ? "" : principalName(who));

/** Who approved what by an event; undefined when it is no approval. */
function approvalBy({ event: { payload } }: Recorded): { name: string; digest: string } | undefined {
  if (payload.case !== "approvalDecided" || payload.value.verdict !== APPROVE) return undefined;
  return { name: nameOf(payload.value.decideBy), digest: payload.value.payloadDigest };
}

test("an approval is used once at most, and nothing happens to it afterwards", () => {
  const { flaw, used } = findFlaw((history) => {
    const first = history.findIndex(isUse);
    return first < 0 || first === history.length - 1 ? undefined : "something happened after the use";
  });
  expect(flaw).toBe("");
  expect(used).toBeGreaterThan(60);
});

test("what is used is what was approved, by as many as had to, since it was written", () => {
  const { flaw } = findFlaw((history) => {
    const use_ = history.find(isUse);
    if (use_?.event.payload.case !== "approvalConsumed") return undefined;
    const approval = approvalOf(use_.before);
    const { payloadDigest: digest } = use_.event.payload.value;
    if (digest !== payloadDigest(approval)) return "the digest is not that of the payload";
    const since = history.findLastIndex(({ event }) => event.payload.case === "approvalEdited");
    const approvals = history.slice(since + 1).flatMap((each) => approvalBy(each) ?? []);
    if (approvals.some((each) => each.digest !== digest)) return "another digest was approved";
    const enough = new Set(approvals.map(({ name }) => name)).size >= approval.requiredCount;
    return enough ? undefined : "too few have approved";
  });
  expect(flaw).toBe("");
});

test("in high_stakes nobody approves who asks, on whose behalf it is asked, or who wrote the payload", () => {
  const { flaw } = findFlaw((history) =>
    history
      .filter(({ before }) => approvalOf(before).zone === Zone.HIGH_STAKES)
      .map((each) => {
        const name = approvalBy(each)?.name ?? "";
        const involved = ["user:alice", agentName, nameOf(approvalOf(each.before).editedBy)];
        return name !== "" && involved.includes(name) ? `${name} has approved` : undefined;
      })
      .find((found) => found !== undefined),
  );
  expect(flaw).toBe("");
});

test("no agent decides unless it is named", () => {
  const { flaw } = findFlaw((history) =>
    history
      .map(({ event: { payload }, before }) => {
        const name = payload.case === "approvalDecided" ? nameOf(payload.value.decideBy) : "";
        return name.startsWith("agent:") && !approvalOf(before).deciders.includes(name)
          ? `${name} has decided`
          : undefined;
      })
      .find((found) => found !== undefined),
  );
  expect(flaw).toBe("");
});

test("time never allows anything, and nothing is used when its time is over", () => {
  const { flaw } = findFlaw((history) =>
    history
      .map((each) => {
        const { before, after, now } = each;
        if (after.status === "approved" && approvalBy(each) === undefined) return "approved by nobody";
        const { expireTime } = approvalOf(before);
        const late = expireTime === undefined || timestampMs(expireTime) <= now.getTime();
        return isUse(each) && late ? "used too late" : undefined;
      })
      .find((found) => found !== undefined),
  );
  expect(flaw).toBe("");
});
