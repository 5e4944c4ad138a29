import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  type Approval,
  ApprovalSchema,
  ApprovalStatus,
  ApprovalVerdict,
  ApprovalVerdictSchema,
} from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { confirmed } from "../../src/cli/actions/confirming.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { approvalView } from "../../src/cli/views/approval-view.ts";
import { jsonValue } from "../../src/client/json.ts";
import { callOf } from "../../src/kernel/call.ts";
import { enumName } from "../../src/kernel/enum-name.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { personBehind, principalName } from "../../src/kernel/principal.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { openFakeServer } from "./fake-server.ts";

const approvalId = "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const digest = (letter: string) => letter.repeat(64);

function approval(changes: Partial<Omit<Approval, "$typeName" | "$unknown">> = {}) {
  return create(ApprovalSchema, {
    approvalId,
    runId,
    action: { type: "mail.send", target: "mailto:a@example.com", effect: ToolEffect.EXTERNAL_WRITE },
    payload: jsonValue({ subject: "Hello" }),
    payloadDigest: digest("a"),
    risk: Risk.HIGH,
    status: ApprovalStatus.PENDING,
    zone: Zone.SUPERVISED,
    requiredCount: 2,
    requestedBy: {
      type: PrincipalType.AGENT,
      id: "agt_1",
      onBehalfOf: [{ type: PrincipalType.USER, id: "alice" }],
    },
    ...changes,
  });
}

/** A server with one approval; what was asked of it, in order. */
async function openInbox() {
  const calls: unknown[] = [];
  let present = approval();
  const server = await openFakeServer({
    approvals: {
      getApproval: () => ({ approval: present }),
      listApprovals(request) {
        calls.push({ list: request });
        return { approvals: [present] };
      },
      editApproval(request) {
        calls.push({ edit: request.payloadDigest, comment: request.comment });
        present = approval({ ...present, payload: request.payload, payloadDigest: digest("b"), edited: true });
        return { approval: present };
      },
      decideApproval(request, context) {
        const { verdict, payloadDigest, comment } = request;
        if (verdict === ApprovalVerdict.APPROVE && payloadDigest !== present.payloadDigest) {
          throw new SignalboxError("PAYLOAD_MISMATCH", "the payload is another one by now");
        }
        const by = principalName(personBehind(callOf(context).principal));
        calls.push({ verdict: enumName(ApprovalVerdictSchema, verdict), payloadDigest, comment, by });
        const status = { APPROVE: ApprovalStatus.PENDING, DENY: ApprovalStatus.DENIED, HOLD: ApprovalStatus.HELD };
        const name = enumName(ApprovalVerdictSchema, verdict) as keyof typeof status;
        present = approval({ ...present, status: status[name], approveCount: name === "APPROVE" ? 1 : 0 });
        return { approval: present };
      },
      delegateApproval(request) {
        calls.push({ delegateTo: request.delegateTo, comment: request.comment });
        return { approval: present };
      },
    },
  });
  return { ...server, calls };
}

describe("approve", () => {
  test("shows what is to be done and approves the digest of that, as whoever calls", async () => {
    await using inbox = await openInbox();
    const told = await inbox.text("approvals", "approve", approvalId, "--yes", "--comment", "ok", "--as", "user:alice");
    expect(told).toMatch(/action +mail\.send to mailto:a@example\.com[^]*"subject": "Hello"/);
    expect(told).toMatch(new RegExp(`${approvalId} PENDING, 1 of 2 have approved\n$`));
    expect(inbox.calls).toEqual([{ verdict: "APPROVE", payloadDigest: digest("a"), comment: "ok", by: "user:alice" }]);
  });

  test("approves nothing where nobody can be asked", async () => {
    await using inbox = await openInbox();
    const { code, stderr } = await inbox.run("approvals", "approve", approvalId);
    expect(code).toBe(exitCodes.usage);
    expect(stderr).toMatch(/nobody can be asked[^]*--yes[^]*--digest/);
    expect(inbox.calls).toEqual([]);
  });

  test("is refused when the payload is not the one that somebody has looked at", async () => {
    await using inbox = await openInbox();
    const { code, stderr } = await inbox.run("approvals", "approve", approvalId, "--digest", digest("c"));
    expect(code).toBe(exitCodes.failed);
    expect(stderr).toMatch(/\(PAYLOAD_MISMATCH\)\nhint: .*approvals show/);
  });

  test("--edit replaces the payload that was shown and approves the new digest", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "smaller.json");
    await writeFile(file, '{"subject":"Hi"}');
    await using inbox = await openInbox();
    const told = await inbox.text("approvals", "approve", approvalId, "--edit", file, "--yes");
    expect(told).toMatch(/"subject": "Hello"[^]*is replaced by[^]*"subject": "Hi"/);
    expect(inbox.calls).toMatchObject([{ edit: digest("a") }, { verdict: "APPROVE", payloadDigest: digest("b") }]);
  });
});

test("deny and hold say why", async () => {
  await using inbox = await openInbox();
  await inbox.text("approvals", "hold", approvalId, "--comment", "asking legal");
  expect(await inbox.text("approvals", "deny", approvalId, "--comment", "no")).toBe(`${approvalId} DENIED\n`);
  expect(inbox.calls).toMatchObject([
    { verdict: "HOLD", comment: "asking legal" },
    { verdict: "DENY", comment: "no" },
  ]);
});

test("edit names the digest of what it replaces; delegate names who decides", async () => {
  await using inbox = await openInbox();
  const edited = await inbox.json("approvals", "edit", approvalId, '{"subject":"Hi"}', "--comment", "shorter");
  expect(edited).toMatchObject({ payload: { subject: "Hi" }, payloadDigest: digest("b") });
  await inbox.json("approvals", "delegate", approvalId, "user:bob");
  expect(inbox.calls).toEqual([
    { edit: digest("a"), comment: "shorter" },
    { delegateTo: "user:bob", comment: "" },
  ]);
});

test("ls filters, and shows risk, action and who asks", async () => {
  await using inbox = await openInbox();
  const filters = ["--status", "pending,held", "--assignee", "me", "--min-risk", "medium", "--run", runId];
  expect(await inbox.text("approvals", "ls", ...filters)).toMatch(
    new RegExp(`^${approvalId} +PENDING +HIGH +mail\\.send to mailto:a@example\\.com +agt_1 for alice +0 of 2`, "m"),
  );
  expect(inbox.calls).toMatchObject([
    {
      list: {
        statuses: [ApprovalStatus.PENDING, ApprovalStatus.HELD],
        assignee: "me",
        minRisk: Risk.MEDIUM,
        runId,
      },
    },
  ]);
});

test("what is to be approved is shown in full, and shows the characters that hide", () => {
  const long = "x".repeat(10_000);
  const shown = approvalView(approval({ payload: jsonValue({ to: "bob\u202e@moc.live", zero: "a\u200bb", long }) }));
  expect(shown).toContain(long);
  expect(shown).toContain(String.raw`"bob\u202e@moc.live"`);
  expect(shown).toContain(String.raw`"a\u200bb"`);
});

describe("the question", () => {
  async function answer(text: string): Promise<boolean> {
    const input = new PassThrough();
    input.end(text);
    return confirmed("Sure? ", { input, output: new PassThrough() }, new AbortController().signal);
  }

  test.each(["y\n", "yes\n", " YES \n"])("takes %j for yes", async (text) => {
    expect(await answer(text)).toBe(true);
  });

  test.each(["n\n", "\n", "", "yesterday\n"])("takes %j for no", async (text) => {
    expect(await answer(text)).toBe(false);
  });
});
