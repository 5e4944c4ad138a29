import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { RunStatus, StepKind, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { createApprovals } from "../../src/approvals/approvals.ts";
import { createApprovalLists } from "../../src/approvals/queries.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import type { Call } from "../../src/kernel/call.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { equalBytes, sha256 } from "../../src/kernel/digest.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { claim } from "../e2e/claims.ts";
import { approvalOf, askAgain, askByCall, askByStep, decision, mailOf } from "../e2e/people.ts";
import { refusal } from "../e2e/refusal.ts";
import { headPosition, subscribed } from "../e2e/subscribed.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { APPROVE, asking, type Asking, DENY, HOLD, principal } from "./approvals.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());
const { backend } = installation;
const [, second] = installation.servers;

/** Asks as runs do, without any run: for lists and strangers. */
const desk = createApprovals({
  log: backend.log,
  clock: systemClock,
  ids: randomIds,
  lists: createApprovalLists(backend.postgres.db),
  positions: { reach: () => Promise.resolve() },
  limits: { maxInputBytes: 1024 * 1024, maxOutputBytes: 1024 * 1024 },
  rolesOf: async () => [],
});

const callTo = (workspaceId: string): Call => ({
  workspaceId,
  principal: principal("service:test"),
  correlationId: "corr_1",
  traceparent: "",
  signal: AbortSignal.timeout(60_000),
});

async function ask(workspaceId: string, fields: Asking = {}): Promise<Approval> {
  const approvalId = randomIds.next("appr");
  return (await desk.request(callTo(workspaceId), asking({ approvalId, runId: randomIds.next("run"), ...fields })))
    .approval;
}

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const awaiting = (approvalId: string) => ({ condition: { case: "approval", value: { approvalId } } }) as const;

/** Waits for the end of an approval without a worker. */
const suspend = (client: SignalboxClient, leaseToken: string, { approvalId }: Approval) =>
  client.engine.suspendRun({ leaseToken, conditions: [awaiting(approvalId)] });

async function statusOf(client: SignalboxClient, runId: string): Promise<RunStatus | undefined> {
  return (await client.runs.getRun({ runId })).run?.status;
}

describe("a run that has to ask", () => {
  test("waits without a worker, wakes when another client decides, and goes on with the approved bytes", async () => {
    const client = newClient();
    const bob = client.onBehalfOf("user:bob");
    await using inbox = await subscribed(bob, { filter: { types: ["approval.requested"] } });
    const { claimed, approval } = await askByCall(client, mailOf("hello"));
    await until(() => inbox.events.length === 1, { what: "the request in the inbox" });
    await suspend(client, claimed.leaseToken, approval);
    expect(await statusOf(client, claimed.run.runId)).toBe(RunStatus.WAITING);
    const { approval: decided } = await bob.approvals.decideApproval(decision(approval));
    expect(decided).toMatchObject({ status: ApprovalStatus.APPROVED, decisions: [{ decideBy: { id: "bob" } }] });
    const again = await claim(client, claimed.run.handler);
    const { toolCall } = await client.engine.startToolCall({ leaseToken: again.leaseToken, ...mailOf("hello") });
    expect(toolCall).toMatchObject({ status: ToolCallStatus.STARTED, approvalId: approval.approvalId });
    expect(toolCall?.arguments).toEqual(approval.payload);
    expect(await approvalOf(client, approval.approvalId)).toMatchObject({
      status: ApprovalStatus.CONSUMED,
      consumption: { runId: claimed.run.runId, payloadDigest: approval.payloadDigest },
    });
  });

  test("goes on with what was edited, after the edit was approved", async () => {
    const client = newClient();
    const [bob, carol] = [client.onBehalfOf("user:bob"), client.onBehalfOf("user:carol")];
    const { claimed, approval } = await askByCall(client, mailOf("hello"), { zone: Zone.HIGH_STAKES });
    const { leaseToken } = claimed;
    const { approvalId, payloadDigest } = approval;
    const payload = jsonValue({ text: "good morning" });
    const { approval: edited } = await bob.approvals.editApproval({ approvalId, payload, payloadDigest });
    expect(await refusal(carol.approvals.decideApproval(decision(approval)))).toMatchObject({
      reason: "PAYLOAD_MISMATCH",
    });
    expect(await refusal(bob.approvals.decideApproval(decision(edited!)))).toMatchObject({ reason: "SELF_APPROVAL" });
    await carol.approvals.decideApproval(decision(edited!));
    const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mailOf("hello") });
    expect(valueToJson(toolCall?.arguments)).toEqual({ text: "good morning" });
  });

  test.each([
    ["denied", DENY, "APPROVAL_DENIED"],
    ["held", HOLD, "APPROVAL_REQUIRED"],
  ])("is told why it may not when it is %s", async (_what, verdict, reason) => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client, mailOf("hello"));
    await client.onBehalfOf("user:bob").approvals.decideApproval(decision(approval, verdict));
    const { leaseToken } = claimed;
    expect((await refusal(client.engine.startToolCall({ leaseToken, ...mailOf("hello") }))).reason).toBe(reason);
  });

  test("wakes when its approval lapses, which is no denial", async () => {
    const client = newClient();
    const { claimed, approval } = await askByStep(client, { terms: { ttl: { seconds: 1n } } });
    await suspend(client, claimed.leaseToken, approval);
    const again = await claim(client, claimed.run.handler);
    expect((await approvalOf(client, approval.approvalId)).status).toBe(ApprovalStatus.EXPIRED);
    const { leaseToken } = again;
    const { approvalId } = approval;
    await client.engine.startStep({ leaseToken, key: "ask", kind: StepKind.APPROVAL });
    expect(await refusal(client.approvals.consumeApproval({ leaseToken, approvalId }))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "APPROVAL_EXPIRED",
    });
  });

  test("leaves nothing open when it ends", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client);
    await client.runs.cancelRun({ runId: claimed.run.runId });
    const canceled = await until(
      async () => {
        const now = await approvalOf(client, approval.approvalId);
        return now.status === ApprovalStatus.CANCELED ? now : undefined;
      },
      { what: "the approval to be canceled" },
    );
    expect(canceled.cancelReason).toBe("its run has ended");
    expect(await refusal(client.approvals.decideApproval(decision(approval)))).toMatchObject({
      reason: "INVALID_STATE",
      metadata: { status: "CANCELED" },
    });
  });

  test("asks anew when the policy changes, and the old approval is void", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client, mailOf("hello"));
    await client.approvals.decideApproval(decision(approval));
    await client.policy.putPolicy({ policy: { denyUnregistered: false, approval: { requiredCount: 2 } } });
    await until(async () => (await approvalOf(client, approval.approvalId)).status === ApprovalStatus.CANCELED, {
      what: "the old approval to be void",
    });
    const asked = await askAgain(client, claimed.leaseToken, mailOf("hello"));
    expect(asked).toMatchObject({ status: ApprovalStatus.PENDING, requiredCount: 2 });
    expect(asked.approvalId).not.toBe(approval.approvalId);
    expect(asked.payloadDigest).not.toBe(approval.payloadDigest);
  });

  test("is told by whichever process leads, also of what was decided while none did", async () => {
    const client = newClient();
    const { claimed, approval } = await askByCall(client, mailOf("hello"));
    await suspend(client, claimed.leaseToken, approval);
    await second?.stop();
    const [first] = installation.servers;
    await first?.stop();
    await first?.start(new Set(["server", "projector"]));
    await client.approvals.decideApproval(decision(approval));
    await first?.stop();
    await first?.start();
    await second?.start();
    const woken = until(async () => (await statusOf(client, claimed.run.runId)) === RunStatus.QUEUED, {
      what: "the run to wake",
      timeoutMs: 40_000,
    });
    expect(await woken).toBe(true);
  }, 60_000);
});

test("a decision and its comment stand in the hash chain: no bit of them can be changed unnoticed", async () => {
  const client = newClient();
  const bob = client.onBehalfOf("user:bob");
  const { approval } = await askByCall(client, mailOf("hello"));
  await bob.approvals.decideApproval({ ...decision(approval), comment: "read it twice" });
  const filter = { stream: { type: "approval", id: approval.approvalId } };
  const { events } = await client.events.listEvents({ filter, minPosition: await headPosition(client) });
  expect(events.map(({ type }) => type)).toEqual(["approval.requested", "approval.decided"]);
  const [requested, decided] = await Promise.all(events.map(({ eventId }) => client.events.getEvent({ eventId })));
  const { prevHash, hash } = decided!.event!;
  expect(equalBytes(prevHash, requested!.event!.hash)).toBe(true);
  const bytes = decided!.storedBytes;
  expect(Buffer.from(bytes).includes("read it twice")).toBe(true);
  expect(equalBytes(sha256(prevHash, bytes), hash)).toBe(true);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Uint8Array.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(equalBytes(sha256(prevHash, changed), hash)).toBe(false);
  }
});

describe("escalation", () => {
  test("lets more people decide after a time", async () => {
    const client = newClient();
    const terms = { deciders: ["user:ann"], escalateAfter: { seconds: 1n }, escalateTo: ["user:lea"] };
    const { approval } = await askByStep(client, { terms });
    const lea = client.onBehalfOf("user:lea");
    expect((await refusal(lea.approvals.decideApproval(decision(approval)))).reason).toBe("PERMISSION_DENIED");
    await until(async () => (await approvalOf(client, approval.approvalId)).escalated, { what: "the escalation" });
    const { approval: decided } = await lea.approvals.decideApproval(decision(approval));
    expect(decided?.status).toBe(ApprovalStatus.APPROVED);
  });
});

describe("bad payloads", () => {
  test.each([
    ["too large", jsonValue("x".repeat(1024 * 1024 + 1)), "PAYLOAD_TOO_LARGE"],
    ["not JSON", { kind: { case: "numberValue", value: Number.NaN } } as const, "INVALID_REQUEST"],
  ])("an edit that is %s is refused, and so is a request", async (_what, payload, reason) => {
    const client = newClient();
    const { approval, claimed } = await askByStep(client);
    const { approvalId, payloadDigest } = approval;
    expect((await refusal(client.approvals.editApproval({ approvalId, payload, payloadDigest }))).reason).toBe(reason);
    const { leaseToken } = claimed;
    const { step } = await client.engine.startStep({ leaseToken, key: "again", kind: StepKind.APPROVAL });
    const request = { leaseToken, stepId: step?.stepId ?? "", action: { type: "t" }, payload };
    expect((await refusal(client.approvals.requestApproval(request))).reason).toBe(reason);
    expect(await approvalOf(client, approvalId)).toEqual(approval);
  });

  test("keys that JavaScript treats as its own are part of the digest", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const approval = await ask(workspaceId, { payload: jsonValue({ a: 1 }) });
    const { approvalId, payloadDigest } = approval;
    const payload = jsonValue(JSON.parse('{ "a": 1, "__proto__": { "to": "mallory" } }'));
    const { approval: edited } = await client.approvals.editApproval({ approvalId, payload, payloadDigest });
    expect(edited?.payloadDigest).not.toBe(payloadDigest);
  });
});

describe("strangers", () => {
  test("find nothing, whatever they try", async () => {
    const workspaceId = newWorkspaceId();
    const { approvalId, payloadDigest } = await ask(workspaceId);
    const { approvals } = newClient();
    const payload = jsonValue(1);
    for (const attempt of [
      () => approvals.getApproval({ approvalId }),
      () => approvals.decideApproval({ approvalId, verdict: APPROVE, payloadDigest }),
      () => approvals.decideApproval({ approvalId, verdict: DENY }),
      () => approvals.editApproval({ approvalId, payload, payloadDigest }),
      () => approvals.delegateApproval({ approvalId, delegateTo: "user:mallory" }),
    ]) {
      expect(await refusal(attempt())).toMatchObject({ code: Code.NotFound, reason: "APPROVAL_NOT_FOUND" });
    }
    expect((await approvals.listApprovals({ minPosition: await headPosition(newClient()) })).approvals).toEqual([]);
  });
});

describe("the inbox", () => {
  const list = async (
    client: SignalboxClient,
    request: Parameters<SignalboxClient["approvals"]["listApprovals"]>[0],
  ) => {
    const { approvals } = await client.approvals.listApprovals({ minPosition: await headPosition(client), ...request });
    return approvals.map(({ approvalId }) => approvalId);
  };

  test("filters by everything that it can be asked for", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const ids: string[] = [];
    const settings: Asking[] = [
      { roomId: "room_a", risk: Risk.LOW },
      { risk: Risk.MEDIUM, terms: { deciders: ["user:bob"] } },
      { risk: Risk.UNKNOWN, terms: { deciders: ["agent:x", "user:ann"] }, agentId: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" },
      { risk: Risk.HIGH, agentId: "", runId: "run_01ARZ3NDEKTSV4RRFFQ69G5FAW" },
    ];
    for (const setting of settings) ids.unshift((await ask(workspaceId, { agentId: "", ...setting })).approvalId);
    const [open, named, bobs, roomed] = ids;
    await client.approvals.decideApproval({ approvalId: open!, verdict: HOLD });
    const [ann, bob] = [client.onBehalfOf("user:ann"), client.onBehalfOf("user:bob")];
    const agent = client.onBehalfOf("agent:x");
    expect(await list(client, {})).toEqual(ids);
    expect(await list(client, { statuses: [ApprovalStatus.HELD] })).toEqual([open]);
    expect(await list(client, { statuses: [ApprovalStatus.PENDING, ApprovalStatus.HELD] })).toEqual(ids);
    expect(await list(client, { statuses: [ApprovalStatus.DENIED, ApprovalStatus.HELD] })).toEqual([open]);
    expect(await list(client, { roomId: "room_a" })).toEqual([roomed]);
    expect(await list(client, { runId: "run_01ARZ3NDEKTSV4RRFFQ69G5FAW" })).toEqual([open]);
    expect(await list(client, { agentId: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" })).toEqual([named]);
    expect(await list(client, { minRisk: Risk.HIGH })).toEqual([open, named]);
    expect(await list(client, { minRisk: Risk.UNKNOWN })).toEqual([named]);
    expect(await list(bob, { assignee: "me" })).toEqual([open, bobs, roomed]);
    expect(await list(ann, { assignee: "me" })).toEqual([open, named, roomed]);
    expect(await list(client, { assignee: "user:ann" })).toEqual([open, named, roomed]);
    expect(await list(agent, { assignee: "me" })).toEqual([named]);
    await bob.approvals.delegateApproval({ approvalId: bobs!, delegateTo: "user:ann" });
    await bob.approvals.delegateApproval({ approvalId: roomed!, delegateTo: "user:ann" });
    expect(await list(bob, { assignee: "me" })).toEqual([open]);
    expect(await list(ann, { assignee: "me" })).toEqual(ids);
  });

  test("of a thousand comes in pages, each approval once, the newest first", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const count = 1_000;
    const hands = Array.from({ length: 50 }, async (_, hand) => {
      for (let n = hand; n < count; n += 50) await ask(workspaceId);
    });
    await Promise.all(hands);
    const minPosition = await headPosition(client);
    const found: bigint[] = [];
    const statuses = [ApprovalStatus.PENDING];
    for (let pageToken = "", last = false; !last;) {
      const request = { statuses, assignee: "user:bob", pageSize: 40, pageToken, minPosition };
      const page = await client.approvals.listApprovals(request, { timeoutMs: 60_000 });
      found.push(...page.approvals.map(({ position }) => position));
      pageToken = page.nextPageToken;
      last = pageToken === "";
    }
    expect(found).toHaveLength(count);
    expect(found).toEqual([...new Set(found)].toSorted((a, b) => (a > b ? -1 : 1)));
  }, 120_000);

  test("is cut at 2 MiB, and a token fits its own filters only", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    for (let n = 0; n < 4; n++) await ask(workspaceId, { payload: jsonValue("x".repeat(900_000)) });
    const minPosition = await headPosition(client);
    const { approvals, nextPageToken: pageToken } = await client.approvals.listApprovals({ minPosition });
    expect(approvals).toHaveLength(2);
    const rest = await client.approvals.listApprovals({ pageToken });
    expect([rest.approvals.length, rest.nextPageToken]).toEqual([2, ""]);
    const other = client.approvals.listApprovals({ pageToken, minRisk: Risk.HIGH });
    expect((await refusal(other)).reason).toBe("INVALID_REQUEST");
  });
});
