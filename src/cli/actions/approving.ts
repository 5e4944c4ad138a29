import { equals } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalVerdict } from "../../../gen/signalbox/v1/approval_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ApproveOptions } from "../commands/approvals.ts";
import { approvalView, payloadText } from "../views/approval-view.ts";
import { approvalOf, showDecided } from "./approvals.ts";
import { openClient } from "./client.ts";
import { confirmed } from "./confirming.ts";
import { fileArgument, jsonArgument } from "./text-argument.ts";

/** `signalbox approvals approve`: shows what is to be done, asks, and approves what was shown. */
export async function approve(cli: Cli, approvalId: string, options: ApproveOptions): Promise<ExitCode> {
  const payload =
    options.edit === undefined ? undefined : await jsonArgument("--edit", await fileArgument("--edit", options.edit));
  using client = openClient(cli);
  const shown = await approvalOf(client, cli, approvalId);
  cli.output.say(approvalView(shown));
  if (payload !== undefined) cli.output.say(`\nis replaced by\n\n${payloadText(payload)}`);
  await ask(cli, options);
  // The digest of what somebody has looked at wins: they may have looked before this command did.
  const seen = options.digest ?? shown.payloadDigest;
  const payloadDigest =
    payload === undefined ? seen : await edit(client, cli, shown, payload, { ...options, digest: seen });
  const request = { approvalId, verdict: ApprovalVerdict.APPROVE, comment: options.comment ?? "", payloadDigest };
  return showDecided(cli, (await client.approvals.decideApproval(request, { signal: cli.signal })).approval);
}

async function ask(cli: Cli, { yes, digest }: ApproveOptions): Promise<void> {
  if (yes || digest !== undefined) return;
  if (cli.output.json || !process.stdin.isTTY) {
    throw usageError(
      "nobody can be asked here whether to approve",
      "Give --yes to approve what is there by now, or --digest with the digest of what somebody has looked at.",
    );
  }
  const streams = { input: process.stdin, output: process.stderr };
  if (await confirmed("\nApprove exactly this? (yes/no) ", streams, cli.signal)) return;
  throw new CliError("not approved; nothing was recorded", "", exitCodes.failed);
}

/** The digest of the approval with the other payload. */
async function edit(
  client: Pick<SignalboxClient, "approvals">,
  { signal }: Cli,
  { approvalId }: Approval,
  payload: Value,
  { comment = "", digest: payloadDigest = "" }: ApproveOptions,
): Promise<string> {
  const { approval } = await client.approvals.editApproval({ approvalId, payload, comment, payloadDigest }, { signal });
  if (approval?.payload === undefined || !equals(ValueSchema, approval.payload, payload)) {
    throw new CliError(
      "somebody else has edited the payload at the same time; it was not approved",
      `signalbox approvals show ${approvalId} shows what it is by now.`,
      exitCodes.failed,
    );
  }
  return approval.payloadDigest;
}
