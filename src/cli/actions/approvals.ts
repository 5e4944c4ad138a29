import { toJson } from "@bufbuild/protobuf";
import {
  type Approval,
  ApprovalSchema,
  ApprovalStatus,
  ApprovalVerdict,
} from "../../../gen/signalbox/v1/approval_pb.ts";
import { Risk } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { CommentOptions, DecisionOptions, ListApprovalsOptions } from "../commands/approvals.ts";
import { given } from "../given.ts";
import { approvalTable, approvalView, decidedText } from "../views/approval-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { jsonArgument } from "./text-argument.ts";

const statusOf = {
  pending: ApprovalStatus.PENDING,
  held: ApprovalStatus.HELD,
  approved: ApprovalStatus.APPROVED,
  denied: ApprovalStatus.DENIED,
  expired: ApprovalStatus.EXPIRED,
  consumed: ApprovalStatus.CONSUMED,
  canceled: ApprovalStatus.CANCELED,
} as const satisfies Record<NonNullable<ListApprovalsOptions["status"]>[number], ApprovalStatus>;

const riskOf = {
  low: Risk.LOW,
  medium: Risk.MEDIUM,
  high: Risk.HIGH,
  unknown: Risk.UNKNOWN,
} as const satisfies Record<NonNullable<ListApprovalsOptions["minRisk"]>, Risk>;

/** `signalbox approvals ls`. */
export async function listApprovals(cli: Cli, options: ListApprovalsOptions): Promise<ExitCode> {
  const { status = [], room = "", run = "", agent = "", assignee = "", minRisk, limit } = options;
  using client = openClient(cli);
  const filters = {
    statuses: status.map((name) => statusOf[name]),
    roomId: room,
    runId: run,
    agentId: agent,
    assignee,
    ...given({ minRisk: minRisk && riskOf[minRisk] }),
  };
  const approvals: Approval[] = await pages(limit, async (page) => {
    const response = await client.approvals.listApprovals({ ...filters, ...page }, { signal: cli.signal });
    return { items: response.approvals, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, approvals, (approval) => toJson(ApprovalSchema, approval), approvalTable);
  return exitCodes.ok;
}

/** `signalbox approvals show`. */
export async function showApproval(cli: Cli, approvalId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const approval = await approvalOf(client, cli, approvalId);
  cli.output.show(toJson(ApprovalSchema, approval), approvalView(approval));
  return exitCodes.ok;
}

/** `signalbox approvals deny`. */
export function deny(cli: Cli, approvalId: string, options: DecisionOptions): Promise<ExitCode> {
  return decide(cli, approvalId, ApprovalVerdict.DENY, options);
}

/** `signalbox approvals hold`. */
export function hold(cli: Cli, approvalId: string, options: DecisionOptions): Promise<ExitCode> {
  return decide(cli, approvalId, ApprovalVerdict.HOLD, options);
}

/** `signalbox approvals edit`. */
export async function editApproval(
  cli: Cli,
  approvalId: string,
  text: string,
  { comment = "" }: CommentOptions,
): Promise<ExitCode> {
  const payload = await jsonArgument("<payload>", text);
  using client = openClient(cli);
  const { payloadDigest } = await approvalOf(client, cli, approvalId);
  const request = { approvalId, comment, payloadDigest, ...given({ payload }) };
  const { approval } = await client.approvals.editApproval(request, { signal: cli.signal });
  if (approval === undefined) throw new Error("the server answered without an approval");
  cli.output.show(toJson(ApprovalSchema, approval), approvalView(approval));
  return exitCodes.ok;
}

/** `signalbox approvals delegate`. */
export async function delegate(
  cli: Cli,
  approvalId: string,
  delegateTo: string,
  { comment = "" }: CommentOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { approvalId, delegateTo, comment };
  const { approval } = await client.approvals.delegateApproval(request, { signal: cli.signal });
  if (approval === undefined) throw new Error("the server answered without an approval");
  cli.output.show(toJson(ApprovalSchema, approval), approvalView(approval));
  return exitCodes.ok;
}

/** The approval as it is now. APPROVAL_NOT_FOUND. */
export async function approvalOf(
  client: Pick<SignalboxClient, "approvals">,
  { signal }: Pick<Cli, "signal">,
  approvalId: string,
): Promise<Approval> {
  const { approval } = await client.approvals.getApproval({ approvalId }, { signal });
  if (approval === undefined) throw new Error("the server answered without an approval");
  return approval;
}

/** Tells where an approval stands after a decision. */
export function showDecided({ output }: Cli, approval: Approval | undefined): ExitCode {
  if (approval === undefined) throw new Error("the server answered without an approval");
  output.show(toJson(ApprovalSchema, approval), decidedText(approval));
  return exitCodes.ok;
}

async function decide(
  cli: Cli,
  approvalId: string,
  verdict: ApprovalVerdict,
  { comment = "", digest = "" }: DecisionOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { approvalId, verdict, comment, payloadDigest: digest };
  return showDecided(cli, (await client.approvals.decideApproval(request, { signal: cli.signal })).approval);
}
