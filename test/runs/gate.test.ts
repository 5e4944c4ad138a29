import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { ApprovalWaitSchema, ToolCallStatus, ToolEffect, WakeConditionSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { FailToolCallRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { releaseRun } from "../../src/runs/lease-decider.ts";
import { endApproval, suspendRun } from "../../src/runs/wait-decider.ts";
import { brokenLaws } from "./gate-laws.ts";
import {
  answerTo,
  approvalOf,
  claimedRun,
  disturbedAt,
  dyingAt,
  eventsOf,
  type GatedServer,
  payment,
  startServer,
  type ToolCallInit,
  worker,
} from "./gated-world.ts";
import { claimed, ref, text } from "./scenario.ts";

const { APPROVE, DENY, HOLD } = ApprovalVerdict;
const toolCallId = derivedId("tc", "ws_test", "run_1", "pay");
const permitAll = "permit(principal, action, resource);";

const ask = ({ work }: GatedServer, lease = "a", more: ToolCallInit = {}) =>
  work.startToolCall(worker, payment(lease, more));

async function callOf(server: GatedServer) {
  const state = await server.state();
  return state.status === "absent" ? undefined : state.toolCalls.get(toolCallId)?.toolCall;
}

/** A run whose payment people were asked for. */
async function heldRun() {
  const { store, server } = await claimedRun();
  const approvalId = await approvalOf(ask(server));
  return { store, server, approvalId };
}

/** Gives the run back and takes it again under another lease. */
async function nextLease({ execute }: GatedServer, from: string, to: string): Promise<void> {
  await execute((state, now) => releaseRun(state, ref(from), "", 0, now));
  await execute(claimed(to));
}

/** Every question that `act` asks the store, one after the other, until it asks no further one. */
async function eachQuestion(
  setUp: () => Promise<LogStore>,
  reach: (store: LogStore, n: number) => LogStore & { readonly asked: () => number },
  act: (reached: LogStore, store: LogStore, n: number) => Promise<void>,
): Promise<number> {
  for (let n = 1; ; n++) {
    const store = await setUp();
    const reached = reach(store, n);
    await act(reached, store, n);
    if (reached.asked() < n) return n - 1;
  }
}

describe("a call that may start", () => {
  test("starts at once, and its record says what the policy said, on whose behalf", async () => {
    const { store, server } = await claimedRun();
    const { toolCall } = await ask(server, "a", { effect: ToolEffect.READ });
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, reasonCodes: ["DEFAULT_ALLOWS"], gateCount: 0 });
    const event = (await eventsOf(store)).at(-1);
    expect(event?.type).toBe("tool_call.started");
    expect(event?.actor).toMatchObject({ id: "worker", onBehalfOf: [{ id: "carol" }] });
    expect(event?.payload.value).toMatchObject({ decision: { matchedRule: toolCall?.matchedRule, policyVersion: 0n } });
    expect(toolCall?.matchedRule).toMatch(/^default\./);
  });

  test("is taken for what the registry knows of it, not for what its worker says", async () => {
    const { server } = await claimedRun();
    await server.put(permitAll, [{ type: "pay", effect: ToolEffect.EXTERNAL_WRITE }]);
    const { toolCall } = await ask(server, "a", { effect: ToolEffect.READ, reversible: true });
    expect(toolCall).toMatchObject({ effect: ToolEffect.EXTERNAL_WRITE, reversible: false });
    await server.flip(true);
    expect(await answerTo(ask(server, "a", { key: "other", effect: ToolEffect.READ }))).toBe("KILL_SWITCH_ON");
  });
});

describe("a call that people have to approve", () => {
  test("is held back with the approval to wait for, and asked again it waits for the same", async () => {
    const { store, server, approvalId } = await heldRun();
    expect(await approvalOf(ask(server))).toBe(approvalId);
    expect((await eventsOf(store)).map(({ type }) => type)).toEqual([
      "run.created",
      "run.claimed",
      "tool_call.gated",
      "approval.requested",
    ]);
    expect(await callOf(server)).toMatchObject({ status: ToolCallStatus.GATED, approvalId, gateCount: 1, attempt: 0 });
  });

  test("starts with the bytes that were approved, edits included, and not a second time", async () => {
    const { store, server, approvalId } = await heldRun();
    await server.edit(approvalId, "50 EUR");
    await server.decide(approvalId, APPROVE);
    const { toolCall } = await ask(server);
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, approvalId, arguments: text("50 EUR") });
    expect((await ask(server)).toolCall).toMatchObject({ attempt: 1, arguments: text("50 EUR") });
    expect(brokenLaws(await eventsOf(store))).toEqual([]);
  });

  test.each([
    [DENY, "APPROVAL_DENIED"],
    [HOLD, "APPROVAL_REQUIRED"],
  ])("hears of the verdict %i as %s, for ever", async (verdict, reason) => {
    const { store, server, approvalId } = await heldRun();
    await server.decide(approvalId, verdict, "no");
    expect(await answerTo(ask(server))).toBe(reason);
    const { length } = await eventsOf(store);
    expect(await answerTo(ask(server))).toBe(reason);
    expect(await eventsOf(store)).toHaveLength(length);
  });

  test("is refused when it is approved too late", async () => {
    const { store, server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    server.pass(25 * 3_600_000);
    expect(await answerTo(ask(server))).toBe("APPROVAL_EXPIRED");
    expect(await callOf(server)).toMatchObject({ status: ToolCallStatus.DENIED, error: { code: "APPROVAL_EXPIRED" } });
    expect(brokenLaws(await eventsOf(store))).toEqual([]);
  });

  test("is not to be had with other arguments, and somebody hears of it", async () => {
    const { server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    expect(await answerTo(ask(server, "a", { arguments: text("1000 EUR") }))).toBe("PAYLOAD_MISMATCH");
    expect(server.alarms).toEqual(["mismatch run_1"]);
  });

  test("is not to be had under a lease that was lost, and its approval stays unused", async () => {
    const { server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    await nextLease(server, "a", "b");
    await nextLease(server, "b", "c");
    expect(await answerTo(ask(server, "a"))).toBe("LEASE_LOST");
    expect(server.alarms).toEqual(["fenced run_1 lease_a"]);
    expect((await server.approvals.find("ws_test", approvalId))?.status).toBe(ApprovalStatus.APPROVED);
    expect((await ask(server, "c")).toolCall?.status).toBe(ToolCallStatus.STARTED);
  });

  test("is asked for anew on the edited payload when the policy has changed", async () => {
    const { store, server, approvalId } = await heldRun();
    await server.edit(approvalId, "50 EUR");
    await server.decide(approvalId, APPROVE);
    await server.put('@id("careful") @decision("require_approval") forbid(principal, action, resource);');
    const other = await approvalOf(ask(server));
    expect(other).not.toBe(approvalId);
    expect(await server.approvals.find("ws_test", approvalId)).toMatchObject({ status: ApprovalStatus.CANCELED });
    expect(await server.approvals.find("ws_test", other)).toMatchObject({ payload: text("50 EUR") });
    await server.decide(other, APPROVE);
    expect((await ask(server)).toolCall).toMatchObject({ approvalId: other, arguments: text("50 EUR") });
    expect(brokenLaws(await eventsOf(store))).toEqual([]);
  });

  test("is refused for good when the policy forbids it by now", async () => {
    const { server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    await server.put('@id("never") forbid(principal, action, resource);');
    expect(await answerTo(ask(server))).toBe("POLICY_DENIED");
    await server.put(permitAll);
    expect(await answerTo(ask(server))).toBe("POLICY_DENIED");
    expect((await server.approvals.find("ws_test", approvalId))?.status).toBe(ApprovalStatus.CANCELED);
  });

  /** A payment that was approved, started and has failed. */
  async function failedRun(idempotent: boolean) {
    const { server } = await claimedRun();
    const approvalId = await approvalOf(ask(server, "a", { idempotent }));
    await server.decide(approvalId, APPROVE);
    await ask(server, "a", { idempotent });
    const error = { code: "DOWN", message: "no answer", retryable: true };
    const { leaseToken } = payment("a");
    await server.work.failToolCall(worker, create(FailToolCallRequestSchema, { leaseToken, toolCallId, error }));
    return { server, approvalId };
  }

  test("needs another approval once it has failed", async () => {
    const { server, approvalId } = await failedRun(false);
    expect(await approvalOf(ask(server))).not.toBe(approvalId);
  });

  test("starts again with its approval where doing it twice is doing it once", async () => {
    const { server, approvalId } = await failedRun(true);
    const { toolCall } = await ask(server, "a", { idempotent: true });
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, approvalId, attempt: 2 });
  });

  test("wakes its run, which can not wait for an approval that it has not asked for", async () => {
    const { server, approvalId } = await heldRun();
    const waitFor = (id: string) =>
      server.execute((state, now) => {
        const value = create(ApprovalWaitSchema, { approvalId: id });
        return suspendRun(
          state,
          ref("a"),
          [create(WakeConditionSchema, { condition: { case: "approval", value } })],
          now,
        );
      });
    expect(await answerTo(waitFor("appr_other"))).toBe("INVALID_STATE");
    expect((await waitFor(approvalId)).state.status).toBe("waiting");
    const told = () => server.execute((state) => endApproval(state, approvalId, ApprovalStatus.APPROVED));
    expect((await told()).state.status).toBe("queued");
    expect((await told()).recorded).toBeUndefined();
  });
});

describe("a kill switch", () => {
  test("holds a call back once for each lease and flip, pauses the run, and takes nothing from an approval", async () => {
    const { store, server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    await server.flip(true);
    expect(await answerTo(ask(server))).toBe("KILL_SWITCH_ON");
    const { length } = await eventsOf(store);
    expect(await answerTo(ask(server))).toBe("KILL_SWITCH_ON");
    expect(await eventsOf(store)).toHaveLength(length);
    const { state } = await server.execute((before, now) => releaseRun(before, ref("a"), "", 0, now));
    expect(state).toMatchObject({ status: "paused", run: { pause: { reason: 4 } } });
    expect(await callOf(server)).toMatchObject({
      status: ToolCallStatus.GATED,
      approvalId,
      stopPosition: BigInt(length),
    });
  });

  test("that is off again lets the call go on with its approval", async () => {
    const { store, server, approvalId } = await heldRun();
    await server.decide(approvalId, APPROVE);
    await server.flip(true);
    await answerTo(ask(server));
    await server.flip(false);
    expect((await ask(server)).toolCall).toMatchObject({
      approvalId,
      status: ToolCallStatus.STARTED,
    });
    expect(brokenLaws(await eventsOf(store))).toEqual([]);
  });

  test("lets what stays inside go on", async () => {
    const { server } = await claimedRun();
    await server.flip(true);
    expect(await answerTo(ask(server, "a", { effect: ToolEffect.READ }))).toBe("go");
  });

  test.each([["an approved call"], ["a call that needs no approval"]])(
    "flipped at any moment stops %s, or comes after its start",
    async (what) => {
      const answers = new Set<string>();
      const setUp = async () => {
        const { store, server } = await claimedRun();
        if (what !== "an approved call") await server.put(permitAll);
        else await server.decide(await approvalOf(ask(server)), APPROVE);
        return store;
      };
      const questions = await eachQuestion(
        setUp,
        (store, n) => disturbedAt(store, n, () => startServer(store).flip(true)),
        async (reached, store) => {
          const answer = await answerTo(ask(startServer(reached)));
          answers.add(answer);
          const events = await eventsOf(store);
          expect(brokenLaws(events)).toEqual([]);
          const call = await callOf(startServer(store));
          expect(call?.status).toBe(answer === "go" ? ToolCallStatus.STARTED : ToolCallStatus.GATED);
          // A repeat hears the same: what has started before the flip was started.
          expect(await answerTo(ask(startServer(store)))).toBe(answer);
        },
      );
      expect(questions).toBeGreaterThan(5);
      expect([...answers].toSorted()).toEqual(["KILL_SWITCH_ON", "go"]);
    },
  );
});

describe("a server that dies at any moment", () => {
  test.each(["before", "after"] as const)("%s the log hears it leaves one question to people", async (when) => {
    const questions = await eachQuestion(
      async () => (await claimedRun()).store,
      (store, n) => dyingAt(store, n, when),
      async (reached, store) => {
        await ask(startServer(reached)).catch(() => undefined);
        const approvalId = await approvalOf(ask(startServer(store)));
        const events = await eventsOf(store);
        expect(events.filter(({ type }) => type === "approval.requested")).toHaveLength(1);
        expect(events.filter(({ type }) => type === "tool_call.gated")).toHaveLength(1);
        await startServer(store).decide(approvalId, APPROVE);
        expect(await answerTo(ask(startServer(store)))).toBe("go");
        expect(brokenLaws(await eventsOf(store))).toEqual([]);
      },
    );
    expect(questions).toBeGreaterThan(5);
  });

  test.each([
    ["before", "the same lease"],
    ["after", "the same lease"],
    ["before", "the next lease"],
    ["after", "the next lease"],
  ] as const)("%s the log hears it permits an approved effect once, under %s", async (when, which) => {
    const outcomes = new Set<string>();
    const questions = await eachQuestion(
      async () => {
        const { store, server, approvalId } = await heldRun();
        await server.edit(approvalId, "50 EUR");
        await server.decide(approvalId, APPROVE);
        return store;
      },
      (store, n) => dyingAt(store, n, when),
      async (reached, store) => {
        const first = await ask(startServer(reached)).then(
          () => "go",
          () => "dead",
        );
        const other = startServer(store);
        const lease = which === "the same lease" ? "a" : "b";
        if (lease === "b") await nextLease(other, "a", "b");
        const second = await answerTo(ask(other, lease));
        outcomes.add(`${first}, ${second}`);
        const events = await eventsOf(store);
        expect(brokenLaws(events)).toEqual([]);
        expect(events.filter(({ type }) => type === "tool_call.started")).toHaveLength(1);
        expect(events.filter(({ type }) => type === "approval.consumed")).toHaveLength(1);
      },
    );
    expect(questions).toBeGreaterThan(5);
    // Started, but its worker never heard: under the same lease it hears now, under another the outcome is unknown.
    const unheard =
      which === "the same lease" ? ["dead, go", "go, go"] : ["dead, INVALID_STATE", "dead, go", "go, INVALID_STATE"];
    expect([...outcomes].toSorted()).toEqual(unheard);
  });

  test.each(["before", "after"] as const)("%s the log hears it, behind a flip, tells no worker to go", async (when) => {
    await eachQuestion(
      async () => {
        const { store, server } = await claimedRun();
        await server.put(permitAll);
        return store;
      },
      (store, n) => dyingAt(store, n, when),
      async (reached, store) => {
        await ask(startServer(reached)).catch(() => undefined);
        const started = (await callOf(startServer(store)))?.status === ToolCallStatus.STARTED;
        await startServer(store).flip(true);
        expect(await answerTo(ask(startServer(store)))).toBe(started ? "go" : "KILL_SWITCH_ON");
        expect(brokenLaws(await eventsOf(store))).toEqual([]);
      },
    );
  });

  test("between the start behind a flip and its revocation tells no worker to go, even when the switch is off again", async () => {
    await eachQuestion(
      async () => {
        const { store, server } = await claimedRun();
        await server.put(permitAll);
        return store;
      },
      (store, n) => {
        // The switch is flipped just before the start is recorded, and the server dies some questions later.
        const isStart = (body: Uint8Array) => Buffer.from(body).includes("tool_call.started");
        let flipped = false;
        const flipping: LogStore = {
          ...store,
          async publish(publication) {
            if (!flipped && isStart(publication.body)) {
              flipped = true;
              await startServer(store).flip(true);
            }
            return store.publish(publication);
          },
        };
        return dyingAt(flipping, n, "after");
      },
      async (reached, store) => {
        await ask(startServer(reached)).catch(() => undefined);
        await startServer(store).flip(false);
        const { toolCall } = await ask(startServer(store));
        expect(toolCall?.status).toBe(ToolCallStatus.STARTED);
        expect(brokenLaws(await eventsOf(store))).toEqual([]);
      },
    );
  });
});

test("a policy that forbids, put at any moment, refuses the call for good or comes after its start", async () => {
  const answers = new Set<string>();
  await eachQuestion(
    async () => {
      const { store, server, approvalId } = await heldRun();
      await server.decide(approvalId, APPROVE);
      return store;
    },
    (store, n) => disturbedAt(store, n, () => startServer(store).put("forbid(principal, action, resource);")),
    async (reached, store) => {
      const answer = await answerTo(ask(startServer(reached)));
      answers.add(answer);
      expect(await answerTo(ask(startServer(store)))).toBe(answer);
      expect(brokenLaws(await eventsOf(store))).toEqual([]);
    },
  );
  expect([...answers].toSorted()).toEqual(["POLICY_DENIED", "go"]);
});
