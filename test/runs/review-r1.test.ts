import { create, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { ConsumeApprovalRequestSchema, RequestApprovalRequestSchema } from "../../gen/signalbox/v1/approval_service_pb.ts";
import { StartStepRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { StepKind, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { argumentsDigestOf } from "../../src/runs/gate-context.ts";
import { requireStorable } from "../../src/kernel/limits.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { releaseRun, expireLease } from "../../src/runs/lease-decider.ts";
import { answerTo, approvalOf, claimedRun, dyingAt, eventsOf, type GatedServer, leaseToken, payment, startServer, type ToolCallInit, worker } from "./gated-world.ts";
import { claimed, newRun, ref, text } from "./scenario.ts";

const { APPROVE } = ApprovalVerdict;
const ask = ({ work }: GatedServer, lease = "a", more: ToolCallInit = {}) => work.startToolCall(worker, payment(lease, more));

test("E1 other tool", async () => {
  const { store, server } = await claimedRun();
  const id = await approvalOf(ask(server, "a", { target: "iban:alice" }));
  await server.decide(id, APPROVE);
  console.log("E1 target", await answerTo(ask(server, "a", { target: "iban:mallory", tool: "transfer_all" })));
  console.log((await eventsOf(store)).filter(e=>e.payload.case==="toolCallStarted").map(e=>JSON.stringify([(e.payload.value as any).tool,(e.payload.value as any).target,(e.payload.value as any).approvalId])));
});
test("E1b downgrade while pending/held", async () => {
  const { server } = await claimedRun();
  const id = await approvalOf(ask(server, "a"));
  await server.decide(id, ApprovalVerdict.HOLD);
  console.log("E1b", await answerTo(ask(server, "a", { effect: ToolEffect.READ })));
});
test("E2 editor approves own after re-ask", async () => {
  const { server } = await claimedRun({ ...newRun(), zone: Zone.HIGH_STAKES } as any);
  const id = await approvalOf(ask(server));
  await server.edit(id, "5 EUR");
  console.log("E2 first", await answerTo(server.decide(id, APPROVE)));
  await server.put('@id("x") @decision("require_approval") forbid(principal, action, resource);');
  const other = await approvalOf(ask(server));
  console.log("E2 second", await answerTo(server.decide(other, APPROVE)), await answerTo(ask(server)));
});
test("E3 consumed never expires", async () => {
  const { store, server } = await claimedRun();
  const id = await approvalOf(ask(server));
  await server.decide(id, APPROVE);
  for (let n = 1; n < 40; n++) {
    const died = startServer(dyingAt(store, n, "after"));
    await ask(died).catch(() => undefined);
    const now = await server.approvals.find("ws_test", id);
    if (now?.status === ApprovalStatus.CONSUMED) break;
  }
  console.log("E3", (await server.approvals.find("ws_test", id))?.status, (await eventsOf(store)).map(e=>e.type).slice(-2));
  server.pass(30 * 24 * 3_600_000);
  console.log("E3 after 30 days", await answerTo(ask(server)));
});

const stepId = derivedId("step", "ws_test", "run_1", "deploy");
const startIt = ({ work }: GatedServer, lease: string) => work.startStep(worker, create(StartStepRequestSchema, { leaseToken: leaseToken(lease), key: "deploy", kind: StepKind.APPROVAL }));
const askStep = ({ steps }: GatedServer, lease = "a", more: any = {}) => steps.request(worker, create(RequestApprovalRequestSchema, { leaseToken: leaseToken(lease), stepId, action: { type: "deploy" }, payload: text("v7"), ...more }));
const use = ({ steps }: GatedServer, approvalId: string, lease = "a") => steps.consume(worker, create(ConsumeApprovalRequestSchema, { leaseToken: leaseToken(lease), approvalId }));

test("E4 step consumed, next lease", async () => {
  for (const how of ["switch", "deny"]) {
    const { server } = await claimedRun();
    await startIt(server, "a");
    const { approvalId } = (await askStep(server)).approval;
    await server.decide(approvalId, APPROVE);
    await use(server, approvalId);
    await server.execute((s) => expireLease(s, "lease_a"));
    await server.execute(claimed("b"));
    if (how === "switch") await server.flip(true);
    else await server.put('forbid(principal, action, resource);');
    await startIt(server, "b");
    console.log("E4", how, await answerTo(askStep(server, "b")), await answerTo(use(server, approvalId, "b")));
  }
});
test("E5 escalation by request", async () => {
  const { server } = await claimedRun();
  await server.put('@id("one") @decision("require_approval") @approvers("1 of user:cfo") forbid(principal, action, resource);');
  await startIt(server, "a");
  const { approval } = await askStep(server, "a", { terms: { escalateAfter: { seconds: 1n, nanos: 0 }, escalateTo: ["user:alice"] } });
  server.pass(2000);
  await server.approvals.passTime("ws_test", approval.approvalId);
  console.log("E5", approval.escalateTo, await answerTo(server.decide(approval.approvalId, APPROVE)));
});
test("E7 second approval, other action", async () => {
  const { server } = await claimedRun();
  await startIt(server, "a");
  await askStep(server);
  await server.put('@id("x") @decision("require_approval") forbid(principal, action, resource);');
  const { approval } = await askStep(server);
  const again = await askStep(server, "a", { action: { type: "drop.database" }, payload: text("prod") });
  console.log("E7", again.approval.action?.type, again.approval.approvalId === approval.approvalId);
});
test("E6 proto", () => {
  const evil = JSON.parse('{"a":1,"__proto__":{"b":2}}');
  const v = fromJson(ValueSchema, evil);
  const w = fromJson(ValueSchema, JSON.parse('{"a":1}'));
  console.log("E6 json", argumentsDigestOf(v) === argumentsDigestOf(w), Object.keys((v.kind.value as any).fields));
  // binary with __proto__ key
  const enc = new TextEncoder();
  const val = toBinary(ValueSchema, create(ValueSchema, { kind: { case: "numberValue", value: 2 } }));
  const key = enc.encode("__proto__");
  const entry = Uint8Array.from([0x0a, key.length, ...key, 0x12, val.length, ...val]);
  const struct = Uint8Array.from([0x0a, entry.length, ...entry]);
  const value = Uint8Array.from([0x2a, struct.length, ...struct]);
  try {
    const b = fromBinary(ValueSchema, value);
    console.log("E6 bin", Object.keys((b.kind.value as any).fields), Object.getPrototypeOf((b.kind.value as any).fields), argumentsDigestOf(b) === argumentsDigestOf(fromJson(ValueSchema, {})), toBinary(ValueSchema, b).length, value.length);
  } catch (e) { console.log("E6 bin error", String(e)); }
  const s = fromJson(ValueSchema, JSON.parse('"a\\ud800b"'));
  try { requireStorable("x", s, 1000); } catch (e) { console.log(String(e)); }
  try { console.log("surrogate", argumentsDigestOf(s) === argumentsDigestOf(fromBinary(ValueSchema, toBinary(ValueSchema, s)))); } catch (e) { console.log("surrogate error", String(e)); }
  const big = fromJson(ValueSchema, JSON.parse('[1e21, -0, 1e400, 12345678901234567890]'));
  try { requireStorable("x", big, 1000); } catch (e) { console.log("big", String(e)); }
});
