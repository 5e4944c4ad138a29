import { create } from "@bufbuild/protobuf";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision, KillSwitchScope, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { SetKillSwitchRequestSchema } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { createEventLog, type EventLog } from "../../src/eventlog/event-log.ts";
import { type Feed, openFeed } from "../../src/eventlog/feed.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Call } from "../../src/kernel/call.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createGate } from "../../src/policy/gate.ts";
import { createKillSwitches } from "../../src/policy/kill-switches.ts";
import { createPolicyBook } from "../../src/policy/policy-book.ts";
import { until } from "../support/until.ts";
import { cedar, contextOf } from "./judging.ts";

const { WORKSPACE, INSTALLATION } = KillSwitchScope;

/** A process with policies: it counts how often it asks the log. */
function process(log: EventLog, feed: Feed) {
  const asked: string[] = [];
  const counting: EventLog = {
    ...log,
    last: (filter) => {
      asked.push(filter.split(".").at(-2) ?? "");
      return log.last(filter);
    },
    next: (filter, after) => {
      asked.push(`${filter.split(".").at(-2)} after ${after}`);
      return log.next(filter, after);
    },
  };
  const book = createPolicyBook({ log: counting, clock, ids, cedar });
  const switches = createKillSwitches({ log: counting, clock, ids, feed });
  return { gate: createGate(book, switches), book, switches, asked };
}

async function openProcesses() {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const feed = await openFeed(log, pino({ level: "silent" }));
  return { log, feed, here: process(log, feed), there: process(log, feed) };
}

function callIn(workspaceId: string, type: PrincipalType = PrincipalType.USER): Call {
  const principal = create(PrincipalSchema, { type, id: "x" });
  return { workspaceId, principal, correlationId: "", traceparent: "", signal: new AbortController().signal };
}

const setting = (scope: KillSwitchScope, on: boolean) =>
  create(SetKillSwitchRequestSchema, { scope, on, reason: "because" });
const permit = create(PolicySchema, { cedar: "permit(principal, action, resource);" });

describe("judge", () => {
  test("goes by what another process has put and flipped, at once", async () => {
    const { here, there } = await openProcesses();
    const judge = () => here.gate.judge("ws_a", contextOf());
    expect(await judge()).toMatchObject({ decision: Decision.REQUIRE_APPROVAL, policyVersion: 0n, killEpoch: 0n });
    await there.book.put(callIn("ws_a"), permit);
    expect(await judge()).toMatchObject({ decision: Decision.ALLOW, policyVersion: 1n });
    const { position } = await there.switches.set(callIn("ws_b"), setting(INSTALLATION, true));
    expect(await judge()).toMatchObject({
      decision: Decision.DENY,
      killEpoch: position,
      context: { externalWritesStopped: true },
    });
    await there.switches.set(callIn("ws_b"), setting(INSTALLATION, false));
    expect(await judge()).toMatchObject({ decision: Decision.ALLOW });
    await there.switches.set(callIn("ws_b"), setting(WORKSPACE, true));
    expect(await judge()).toMatchObject({ decision: Decision.ALLOW });
    await there.switches.set(callIn("ws_a"), setting(WORKSPACE, true));
    expect(await judge()).toMatchObject({ decision: Decision.DENY });
  });

  test("asks for the switches only where they matter", async () => {
    const { here, there } = await openProcesses();
    await here.gate.judge("ws_a", contextOf({ effect: ToolEffect.WRITE }));
    expect(here.asked.splice(0)).toEqual(["policy"]);
    await here.gate.judge("ws_a", contextOf());
    expect(here.asked.splice(0).toSorted()).toEqual(["kill_switch", "kill_switch", "policy"]);
    const actions = [{ type: "mail.*", effect: ToolEffect.EXTERNAL_WRITE }];
    await there.book.put(callIn("ws_a"), create(PolicySchema, { actions }));
    await there.switches.set(callIn("ws_a"), setting(WORKSPACE, true));
    const claim = contextOf({ effect: ToolEffect.READ });
    expect((await here.gate.judge("ws_a", claim)).reasonCodes).toEqual(["KILL_SWITCH_ON", "EFFECT_CORRECTED"]);
  });

  test("does not have a policy that it knows sent again", async () => {
    const { here } = await openProcesses();
    const { position } = await here.book.put(callIn("ws_a"), permit);
    here.asked.splice(0);
    for (let n = 0; n < 3; n++) await here.gate.judge("ws_a", contextOf({ effect: ToolEffect.WRITE }));
    expect(here.asked).toEqual(Array.from({ length: 3 }, () => `policy after ${position}`));
  });

  test("takes a context's word that external writes are stopped", async () => {
    const { here } = await openProcesses();
    expect((await here.gate.judge("ws_a", contextOf({ stopped: true }))).reasonCodes).toEqual(["KILL_SWITCH_ON"]);
  });

  test("fails when the log can not be asked", async () => {
    const { log, feed } = await openProcesses();
    const last = () => Promise.reject(new SignalboxError("STORE_UNAVAILABLE", "away"));
    const { gate } = process({ ...log, last }, feed);
    await expect(gate.judge("ws_a", contextOf())).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
  });
});

describe("the switches", () => {
  test("say where in the log they were on, and the newest flip", async () => {
    const { here } = await openProcesses();
    const first = await here.switches.set(callIn("ws_a"), setting(WORKSPACE, true));
    await here.switches.set(callIn("ws_a"), setting(WORKSPACE, false));
    const last = await here.switches.set(callIn("ws_a"), setting(INSTALLATION, true));
    await here.switches.set(callIn("ws_a"), setting(INSTALLATION, true));
    const writes = await here.gate.externalWrites("ws_a");
    expect(writes).toMatchObject({ stopped: true, epoch: last.position });
    const places = [first.position - 1n, first.position, first.position + 1n, last.position];
    expect(places.map((place) => writes.stoppedAt(place))).toEqual([false, true, false, true]);
  });

  test("are seen without asking the log again", async () => {
    const { here, there } = await openProcesses();
    await there.switches.set(callIn("ws_a"), setting(WORKSPACE, true));
    const both = [here.gate.seenExternalWrites("ws_a"), here.gate.seenExternalWrites("ws_a")];
    for (const seen of await Promise.all(both)) expect(seen.stopped).toBe(true);
    expect(here.asked.splice(0)).toHaveLength(2);
    const { position } = await there.switches.set(callIn("ws_a"), setting(WORKSPACE, false));
    const epoch = async () => (await here.gate.seenExternalWrites("ws_a")).epoch;
    await until(async () => (await epoch()) === position, { what: "the flip to be seen" });
    expect(await here.gate.seenExternalWrites("ws_a")).toMatchObject({ stopped: false });
    await there.switches.set(callIn("ws_z"), setting(INSTALLATION, true));
    const stopped = async () => (await here.gate.seenExternalWrites("ws_a")).stopped;
    await until(stopped, { what: "the installation's flip to be seen" });
    expect(here.asked).toEqual([]);
  });

  test("are switched on by an agent, but not off", async () => {
    const { here } = await openProcesses();
    const agent = callIn("ws_a", PrincipalType.AGENT);
    expect((await here.switches.set(agent, setting(WORKSPACE, true))).killSwitch.on).toBe(true);
    await expect(here.switches.set(agent, setting(WORKSPACE, false))).rejects.toMatchObject({
      reason: "PERMISSION_DENIED",
    });
    await expect(here.book.put(agent, permit)).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  });
});

test("roles are those of the version that is asked for", async () => {
  const { here } = await openProcesses();
  const put = (member: string) =>
    here.book.put(callIn("ws_a"), create(PolicySchema, { roles: [{ name: "r", members: [member] }] }));
  await put("user:a");
  await put("user:b");
  const members = async (version: bigint) => (await here.book.rolesOf("ws_a", version)).flatMap((role) => role.members);
  expect(await Promise.all([0n, 1n, 2n].map(members))).toEqual([[], ["user:a"], ["user:b"]]);
  expect(await here.book.hashOf("ws_a")).toBe((await here.book.present("ws_a")).policy.policyHash);
});
