import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Approval, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import type { RequestApprovalRequestSchema } from "../../gen/signalbox/v1/approval_service_pb.ts";
import type { StartToolCallRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { StepKind, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { type Claim, claim } from "./claims.ts";
import { refusal } from "./refusal.ts";

/** A run that asks people, in the hands of a test. */
export interface Asking {
  readonly claimed: Claim;
  readonly approval: Approval;
}

/** The step of a run that asks. */
export interface AskingStep extends Asking {
  readonly stepId: string;
}

type RunRequest = Parameters<SignalboxClient["runs"]["createRun"]>[0];
type Call = Omit<MessageInitShape<typeof StartToolCallRequestSchema>, "$typeName">;
type Question = Omit<MessageInitShape<typeof RequestApprovalRequestSchema>, "$typeName">;

/** The call of a tool that changes something outside: people have to approve it, unless a policy says otherwise. */
export const mail = {
  key: "mail",
  tool: "send_mail",
  effect: ToolEffect.EXTERNAL_WRITE,
  target: "mailto:ada@example.com",
};

/** Creates a run, claims it, and asks for leave to do something by a step. */
export async function askByStep(
  client: SignalboxClient,
  question: Partial<Question> = {},
  run: RunRequest = {},
): Promise<AskingStep> {
  const claimed = await createAndClaimAs(client, run);
  const { leaseToken } = claimed;
  const { step } = await client.engine.startStep({ leaseToken, key: "ask", kind: StepKind.APPROVAL });
  const stepId = step?.stepId ?? "";
  const action = { type: "launch", target: "pad 39A" };
  const payload = jsonValue({ countdown: 10 });
  const asked = await client.approvals.requestApproval({ leaseToken, stepId, action, payload, ...question });
  return { claimed, stepId, approval: present(asked.approval) };
}

/** Creates a run, claims it, and lets it call a tool that is held back until people have approved it. */
export async function askByCall(
  client: SignalboxClient,
  call: Partial<Call> = {},
  run: RunRequest = {},
): Promise<Asking> {
  const claimed = await createAndClaimAs(client, run);
  return { claimed, approval: await askAgain(client, claimed.leaseToken, call) };
}

/** The approval that a tool call is held back for. */
export async function askAgain(
  client: SignalboxClient,
  leaseToken: string,
  call: Partial<Call> = {},
): Promise<Approval> {
  const { metadata } = await refusal(client.engine.startToolCall({ leaseToken, ...mailOf("hello"), ...call }));
  return approvalOf(client, metadata?.["approval_id"] ?? "");
}

/** The call of `mail` with a text. */
export function mailOf(text: string) {
  return { ...mail, arguments: jsonValue({ text }) };
}

/** The approval as it is now. */
export async function approvalOf(client: SignalboxClient, approvalId: string): Promise<Approval> {
  return present((await client.approvals.getApproval({ approvalId })).approval);
}

/** What to send to decide on the present payload. */
export function decision({ approvalId, payloadDigest }: Approval, verdict: ApprovalVerdict = ApprovalVerdict.APPROVE) {
  return { approvalId, verdict, payloadDigest };
}

/** Claims a new run, of nobody else's handler. */
async function createAndClaimAs(client: SignalboxClient, run: RunRequest): Promise<Claim> {
  const handler = run.agentId ? "" : `by_hand_${(handlers += 1)}`;
  const created = await client.runs.createRun({ handler, ...run });
  return claim(client, created.run?.handler ?? "");
}

let handlers = 0;

function present(approval: Approval | undefined): Approval {
  if (approval === undefined) throw new Error("the answer has no approval");
  return approval;
}
