import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  ConsumeApprovalRequestSchema,
  RequestApprovalRequestSchema,
} from "../../gen/signalbox/v1/approval_service_pb.ts";
import { StartStepRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { StepKind, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { expireLease, releaseRun } from "../../src/runs/lease-decider.ts";
import { answerTo, claimedRun, eventsOf, type GatedServer, leaseToken, worker } from "./gated-world.ts";
import { claimed, ref, text } from "./scenario.ts";

const stepId = derivedId("step", "ws_test", "run_1", "deploy");

const startIt = ({ work }: GatedServer, lease: string) =>
  work.startStep(
    worker,
    create(StartStepRequestSchema, { leaseToken: leaseToken(lease), key: "deploy", kind: StepKind.APPROVAL }),
  );

const ask = ({ steps }: GatedServer, lease = "a", payload = "version 7") =>
  steps.request(
    worker,
    create(RequestApprovalRequestSchema, {
      leaseToken: leaseToken(lease),
      stepId,
      action: { type: "deploy" },
      payload: text(payload),
      message: "the tests are green",
      terms: { requiredCount: 2 },
    }),
  );

const use = ({ steps }: GatedServer, approvalId: string, lease = "a") =>
  steps.consume(worker, create(ConsumeApprovalRequestSchema, { leaseToken: leaseToken(lease), approvalId }));

/** A run whose step has asked one person for leave. */
async function askingRun() {
  const { store, server } = await claimedRun();
  await server.put(
    '@id("one") @decision("require_approval") @approvers("1 of user:alice") forbid(principal, action, resource);',
  );
  await startIt(server, "a");
  const { approval } = await ask(server);
  return { store, server, approval };
}

test("a step asks once, in words of its own, for as many as it wants where the policy wants no more", async () => {
  const { store, server, approval } = await askingRun();
  expect(approval).toMatchObject({ stepId, message: "the tests are green", requiredCount: 2, action: { effect: 3 } });
  expect((await ask(server)).approval.approvalId).toBe(approval.approvalId);
  expect((await eventsOf(store)).filter(({ type }) => type === "approval.requested")).toHaveLength(1);
  expect(await answerTo(ask(server, "a", "version 8"))).toBe("PAYLOAD_MISMATCH");
  expect(await answerTo(use(server, approval.approvalId))).toBe("APPROVAL_REQUIRED");
});

/** A run whose step has asked whoever wants to decide, and was approved. */
async function approvedRun() {
  const { store, server } = await claimedRun();
  await startIt(server, "a");
  const request = { leaseToken: leaseToken("a"), stepId, action: { type: "deploy" }, payload: text("version 7") };
  const again = (lease: string) =>
    server.steps.request(worker, create(RequestApprovalRequestSchema, { ...request, leaseToken: leaseToken(lease) }));
  const { approvalId } = (await again("a")).approval;
  await server.decide(approvalId, ApprovalVerdict.APPROVE);
  return { store, server, approvalId, again };
}

test("what was approved is used once, and answered again to the run that used it", async () => {
  const { store, server, approvalId } = await approvedRun();
  const used = await use(server, approvalId);
  expect(used.approval).toMatchObject({ status: ApprovalStatus.CONSUMED, payload: text("version 7") });
  expect((await use(server, approvalId)).approval.status).toBe(ApprovalStatus.CONSUMED);
  expect((await eventsOf(store)).filter(({ type }) => type === "approval.consumed")).toHaveLength(1);
  expect(await answerTo(use(server, derivedId("appr", "other")))).toBe("APPROVAL_NOT_FOUND");
});

test("a worker that has lost the lease can neither ask nor use", async () => {
  const { server, approvalId, again } = await approvedRun();
  await server.execute((state, now) => releaseRun(state, ref("a"), "", 0, now));
  await server.execute(claimed("b"));
  expect(await answerTo(again("a"))).toBe("LEASE_LOST");
  expect(await answerTo(use(server, approvalId, "a"))).toBe("LEASE_LOST");
  expect(await answerTo(use(server, approvalId, "b"))).toBe("INVALID_STATE");
  expect((await startIt(server, "b")).step).toMatchObject({ approvalId, status: StepStatus.RUNNING });
  expect(await answerTo(use(server, approvalId, "b"))).toBe("go");
});

test("a kill switch stops the step and pauses the run; once it is off the step goes on with its approval", async () => {
  const { server, approvalId, again } = await approvedRun();
  await server.flip(true);
  expect(await answerTo(use(server, approvalId))).toBe("KILL_SWITCH_ON");
  expect(await answerTo(use(server, approvalId))).toBe("KILL_SWITCH_ON");
  await server.flip(false);
  await startIt(server, "a");
  expect((await again("a")).approval).toMatchObject({ approvalId, status: ApprovalStatus.APPROVED });
  expect(await answerTo(use(server, approvalId))).toBe("go");
});

test("a stopped step pauses its run when the run is given back", async () => {
  const { server, approvalId } = await approvedRun();
  await server.flip(true);
  await answerTo(use(server, approvalId));
  const { state } = await server.execute((before, now) => releaseRun(before, ref("a"), "", 0, now));
  expect(state.status).toBe("paused");
});

test("another policy makes the approval void: the step asks anew, on the payload as people have left it", async () => {
  const { server, approvalId: first } = await approvedRun();
  await server.put('@id("asks") @decision("require_approval") forbid(principal, action, resource);');
  expect(await answerTo(use(server, first))).toBe("INVALID_STATE");
  const { approval } = await ask(server);
  expect(approval.approvalId).not.toBe(first);
  expect(approval).toMatchObject({ status: ApprovalStatus.PENDING, payload: text("version 7") });
  expect(await answerTo(use(server, first))).toBe("APPROVAL_NOT_FOUND");
});

test("a step that asks anew asks for the same, and who wrote the payload is still known", async () => {
  const { server, approvalId: first } = await approvedRun();
  await server.put('@id("asks") @decision("require_approval") forbid(principal, action, resource);');
  const { approval } = await ask(server);
  expect(approval.approvalId).not.toBe(first);
  const wants = (type: string, payload: string) =>
    server.steps.request(
      worker,
      create(RequestApprovalRequestSchema, {
        leaseToken: leaseToken("a"),
        stepId,
        action: { type },
        payload: text(payload),
      }),
    );
  expect(await answerTo(wants("drop_database", "version 7"))).toBe("PAYLOAD_MISMATCH");
  expect(await answerTo(wants("deploy", "version 8"))).toBe("PAYLOAD_MISMATCH");
  await server.edit(approval.approvalId, "version 6");
  await server.put('@id("others") @decision("require_approval") forbid(principal, action, resource);');
  const editedBy = { id: "alice" };
  expect((await ask(server)).approval).toMatchObject({ payload: text("version 6"), edited: true, editedBy });
});

/** A run whose step has used its approval, and whose worker fell silent before it said more. */
async function inheritedRun() {
  const { store, server, approvalId, again } = await approvedRun();
  await use(server, approvalId);
  await server.execute((state) => expireLease(state, "lease_a"));
  await server.execute(claimed("b"));
  return { store, server, approvalId, again };
}

test("what the worker before has used is good for the next one", async () => {
  const { store, server, approvalId, again } = await inheritedRun();
  await startIt(server, "b");
  expect((await again("b")).approval).toMatchObject({ approvalId, status: ApprovalStatus.CONSUMED });
  expect(await answerTo(use(server, approvalId, "b"))).toBe("go");
  expect((await eventsOf(store)).filter(({ type }) => type === "approval.consumed")).toHaveLength(1);
});

test("but not while a kill switch is on, although it was used before the flip", async () => {
  const { server, approvalId, again } = await inheritedRun();
  await server.flip(true);
  await startIt(server, "b");
  await again("b");
  expect(await answerTo(use(server, approvalId, "b"))).toBe("KILL_SWITCH_ON");
  await server.flip(false);
  await startIt(server, "b");
  expect(await answerTo(use(server, approvalId, "b"))).toBe("go");
});

test("nor when the policy forbids it by now, or wants people to be asked anew", async () => {
  const { server, approvalId, again } = await inheritedRun();
  await startIt(server, "b");
  await server.put("forbid(principal, action, resource);");
  expect(await answerTo(again("b"))).toBe("POLICY_DENIED");
  expect(await answerTo(use(server, approvalId, "b"))).toBe("POLICY_DENIED");
  await server.put('@id("asks") @decision("require_approval") forbid(principal, action, resource);');
  expect(await answerTo(use(server, approvalId, "b"))).toBe("INVALID_STATE");
  expect((await again("b")).approval).toMatchObject({ status: ApprovalStatus.PENDING });
});

test("who is named by the policy is not joined by those to whom the step escalates", async () => {
  const { server } = await claimedRun();
  await server.put(
    '@id("cfo") @decision("require_approval") @approvers("user:cfo") forbid(principal, action, resource);',
  );
  await startIt(server, "a");
  const { approval } = await server.steps.request(
    worker,
    create(RequestApprovalRequestSchema, {
      leaseToken: leaseToken("a"),
      stepId,
      action: { type: "deploy" },
      terms: { deciders: ["user:alice"], escalateAfter: { seconds: 1n }, escalateTo: ["user:alice"] },
    }),
  );
  expect(approval).toMatchObject({ deciders: ["user:cfo"], escalateTo: [] });
  expect(approval.escalateTime).toBeUndefined();
});
