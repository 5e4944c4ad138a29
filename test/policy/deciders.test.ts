import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { KillSwitchScope, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { putPolicy, requireNoAgent } from "../../src/policy/decider.ts";
import { setKillSwitch } from "../../src/policy/kill-switch-decider.ts";
import {
  evolveKillSwitch,
  killSwitchAggregate,
  type KillSwitchState,
  wasOn,
} from "../../src/policy/kill-switch-state.ts";
import { policyHash } from "../../src/policy/policy-hash.ts";
import { evolvePolicyState, policyAggregate, type PolicyState } from "../../src/policy/state.ts";

const reason = (name: string): unknown => expect.objectContaining({ reason: name });
const rules = (cedar: string, more: MessageInitShape<typeof PolicySchema> = {}) =>
  create(PolicySchema, { cedar, ...more });

function after(state: PolicyState, draft: Draft | undefined, version: bigint): PolicyState {
  if (draft === undefined) throw new Error("nothing was decided");
  const event = { workspaceId: "ws_a", streamSequence: version, position: 10n * version, payload: draft.payload };
  return evolvePolicyState(state, create(EventSchema, event));
}

describe("putPolicy", () => {
  const absent = policyAggregate.initial;
  const first = after(absent, putPolicy(absent, rules("permit(principal, action, resource);")), 1n);

  test("makes versions, each with an etag and a hash of its own", () => {
    const second = after(first, putPolicy(first, rules("// other")), 2n);
    expect(second).toMatchObject({
      status: "present",
      policy: { workspaceId: "ws_a", version: 2n, etag: "2", position: 20n, policyHash: policyHash(rules("// other")) },
    });
  });

  test("records nothing when it says so already, whatever the etag and the note", () => {
    const same = rules("permit(principal, action, resource);", { etag: "old", note: "again" });
    expect(putPolicy(first, same)).toBeUndefined();
    expect(putPolicy(absent, rules(""))).toBeUndefined();
  });

  test.each([
    ["an older etag", first, "0"],
    ["another etag", absent, "1"],
  ])("refuses %s", (_what, state, etag) => {
    expect(() => putPolicy(state, rules("// x", { etag }))).toThrow(reason("ETAG_MISMATCH"));
  });

  test("takes the present etag", () => {
    expect(putPolicy(first, rules("// x", { etag: "1" }))).toBeDefined();
    expect(putPolicy(absent, rules("// x", { etag: "0" }))).toBeDefined();
  });
});

describe("an agent", () => {
  const { USER, AGENT, SERVICE } = PrincipalType;
  const principal = (type: PrincipalType, ...chain: PrincipalType[]) =>
    create(PrincipalSchema, { type, id: "x", onBehalfOf: chain.map((each) => ({ type: each, id: "y" })) });

  test.each([
    [AGENT, []],
    [SERVICE, [AGENT, USER]],
    [AGENT, [USER]],
  ])("of type %i for %j changes no policy", (type, chain) => {
    expect(() => requireNoAgent(principal(type, ...chain), "do it")).toThrow(reason("PERMISSION_DENIED"));
  });

  test("is none that is a person, or a program for one", () => {
    for (const who of [principal(USER), principal(SERVICE, USER)]) expect(() => requireNoAgent(who, "x")).not.toThrow();
  });
});

describe("setKillSwitch", () => {
  const { initial } = killSwitchAggregate;
  const scope = KillSwitchScope.WORKSPACE;
  const flip = (state: KillSwitchState, on: boolean, position: bigint): KillSwitchState => {
    const draft = setKillSwitch(state, { scope, on, reason: "why" });
    if (draft === undefined) throw new Error("nothing was decided");
    return evolveKillSwitch(state, create(EventSchema, { position, payload: draft.payload }));
  };
  const on = flip(initial, true, 10n);

  test("flips, and knows where it was on", () => {
    const off = flip(on, false, 20n);
    const again = flip(off, true, 30n);
    expect(again).toMatchObject({ killSwitch: { on: true, reason: "why", position: 30n }, onPosition: 30n });
    expect([5n, 15n, 25n, 35n].map((position) => wasOn(again, position))).toEqual([false, true, false, true]);
  });

  test("records nothing when it is so already, whatever the reason", () => {
    expect(setKillSwitch(initial, { scope, on: false, reason: "" })).toBeUndefined();
    expect(setKillSwitch(on, { scope, on: true, reason: "another" })).toBeUndefined();
  });

  test("is not switched on without a reason", () => {
    expect(() => setKillSwitch(initial, { scope, on: true, reason: " " })).toThrow(reason("INVALID_REQUEST"));
    expect(setKillSwitch(on, { scope, on: false, reason: "" })).toBeDefined();
  });

  test("counts as on where its flips are forgotten", () => {
    let state = initial;
    for (let n = 1; n <= 101; n++) state = flip(state, n % 2 === 1, BigInt(n));
    expect(state.flips).toHaveLength(100);
    expect(wasOn(state, 1n)).toBe(true);
    expect(wasOn(state, 2n)).toBe(false);
    expect(wasOn(initial, 1n)).toBe(false);
  });
});
