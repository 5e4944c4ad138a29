import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { FailToolCallRequestSchema, StartStepRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { brokenLaws } from "./gate-laws.ts";
import {
  answerTo,
  approvalOf,
  claimedRun,
  dyingAt,
  eventsOf,
  type GatedServer,
  leaseToken,
  payment,
  startServer,
  type ToolCallInit,
  worker,
} from "./gated-world.ts";
import { newRun, text } from "./scenario.ts";

// What an approval is good for: this action, with these bytes, in its time, and not for who wrote them.

const { APPROVE } = ApprovalVerdict;
const toolCallId = derivedId("tc", "ws_test", "run_1", "pay");
const asksAgain = '@id("careful") @decision("require_approval") forbid(principal, action, resource);';

const ask = ({ work }: GatedServer, more: ToolCallInit = {}) => work.startToolCall(worker, payment("a", more));

async function approvedRun(more: ToolCallInit = {}) {
  const { store, server } = await claimedRun();
  const approvalId = await approvalOf(ask(server, more));
  await server.decide(approvalId, APPROVE);
  return { store, server, approvalId };
}

function fail({ work }: GatedServer) {
  const error = { code: "DOWN", message: "no answer", retryable: true };
  return work.failToolCall(
    worker,
    create(FailToolCallRequestSchema, { leaseToken: leaseToken("a"), toolCallId, error }),
  );
}

test.each<[string, ToolCallInit]>([
  ["another tool", { tool: "close_account" }],
  ["another target", { target: "iban:mallory" }],
  ["a smaller effect", { effect: ToolEffect.READ }],
  ["what can be repeated", { idempotent: true }],
])("an approval does not start %s, whatever the key and the arguments, and somebody hears of it", async (_, other) => {
  const { store, server, approvalId } = await approvedRun({ target: "iban:alice" });
  expect(await answerTo(ask(server, { target: "iban:alice", ...other }))).toBe("PAYLOAD_MISMATCH");
  expect(server.alarms).toEqual(["mismatch run_1"]);
  expect((await server.approvals.find("ws_test", approvalId))?.status).toBe(ApprovalStatus.APPROVED);
  expect(await answerTo(ask(server, { target: "iban:alice" }))).toBe("go");
  expect(brokenLaws(await eventsOf(store))).toEqual([]);
});

test("what may be repeated is not repeated as something else with the old approval", async () => {
  const { server, approvalId } = await approvedRun({ idempotent: true });
  await ask(server, { idempotent: true });
  await fail(server);
  expect(await approvalOf(ask(server, { idempotent: true, target: "iban:mallory" }))).not.toBe(approvalId);
});

test("an approved call stays the call of its step", async () => {
  const { server } = await claimedRun();
  const stepId = derivedId("step", "ws_test", "run_1", "payroll");
  await server.work.startStep(worker, create(StartStepRequestSchema, { leaseToken: leaseToken("a"), key: "payroll" }));
  await server.decide(await approvalOf(ask(server, { stepId })), APPROVE);
  expect((await ask(server, { stepId })).toolCall).toMatchObject({ status: ToolCallStatus.STARTED, stepId });
});

/** A log on which the approval is used, and the server died before it could start the call. */
async function usedOnly(): Promise<{ store: LogStore; server: GatedServer }> {
  for (let n = 1; ; n++) {
    const { store, server, approvalId } = await approvedRun();
    await ask(startServer(dyingAt(store, n, "after"))).catch(() => undefined);
    const used = await server.approvals.find("ws_test", approvalId);
    if (used?.status === ApprovalStatus.CONSUMED) return { store, server };
  }
}

test("an approval that was used, but started nothing in its time, starts nothing later", async () => {
  const { store, server } = await usedOnly();
  server.pass(25 * 3_600_000);
  expect(await answerTo(ask(server))).toBe("APPROVAL_EXPIRED");
  expect(await answerTo(ask(server))).toBe("APPROVAL_EXPIRED");
  expect(brokenLaws(await eventsOf(store))).toEqual([]);
});

/** A run in high_stakes whose payment alice has edited. */
async function editedRun() {
  const { store, server } = await claimedRun(newRun({ zone: Zone.HIGH_STAKES }));
  const approvalId = await approvalOf(ask(server));
  await server.edit(approvalId, "5 EUR");
  expect(await answerTo(server.decide(approvalId, APPROVE))).toBe("SELF_APPROVAL");
  await server.put(asksAgain);
  return { store, server, approvalId };
}

test("who wrote the payload does not approve it either when people are asked anew", async () => {
  const { server, approvalId } = await editedRun();
  const other = await approvalOf(ask(server));
  expect(other).not.toBe(approvalId);
  const editedBy = { id: "alice" };
  expect(await server.approvals.find("ws_test", other)).toMatchObject({
    payload: text("5 EUR"),
    edited: true,
    editedBy,
  });
  expect(await answerTo(server.decide(other, APPROVE))).toBe("SELF_APPROVAL");
});

test("nor when the server died at any moment while it asked anew, or a kill switch came between", async () => {
  for (let n = 1; ; n++) {
    const { store, server } = await editedRun();
    const mortal = dyingAt(store, n, "after");
    await ask(startServer(mortal)).catch(() => undefined);
    await server.flip(true);
    await answerTo(ask(server));
    await server.flip(false);
    const other = await approvalOf(ask(startServer(store)));
    expect(await answerTo(server.decide(other, APPROVE))).toBe("SELF_APPROVAL");
    if (mortal.asked() < n) break;
  }
});
