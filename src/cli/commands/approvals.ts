import { type Command, Option } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption } from "../option-values.ts";

/** Statuses of approvals as people type them. */
const approvalStatuses = ["pending", "held", "approved", "denied", "expired", "consumed", "canceled"] as const;
/** Risks as people type them. */
const risks = ["low", "medium", "high", "unknown"] as const;

/** Options of `approvals ls`. */
export interface ListApprovalsOptions {
  readonly status?: readonly (typeof approvalStatuses)[number][];
  readonly room?: string;
  readonly run?: string;
  readonly agent?: string;
  readonly assignee?: string;
  readonly minRisk?: (typeof risks)[number];
  readonly limit: number;
}

/** Options of decisions. */
export interface DecisionOptions {
  readonly comment?: string;
  /** The digest of the payload that was seen. */
  readonly digest?: string;
}

/** Options of `approvals approve`. */
export interface ApproveOptions extends DecisionOptions {
  readonly yes?: true;
  /** The other payload: a file, JSON, or - for stdin. */
  readonly edit?: string;
}

/** Options of `approvals edit` and `approvals delegate`. */
export interface CommentOptions {
  readonly comment?: string;
}

const commentOption = ["--comment <text>", "why, for people"] as const;
const digestOption = ["--digest <hex>", "refuse unless this is the digest of the payload by now"] as const;

/** Adds `approvals`. */
export function addApprovals(program: Command, act: Act): void {
  const approvals = program.command("approvals").description("let runs do what is dangerous, or not");
  addReading(approvals, act);
  addApprove(approvals, act);
  addRefusing(approvals, act);
  addChanging(approvals, act);
}

function addReading(approvals: Command, act: Act): void {
  approvals
    .command("ls")
    .alias("list")
    .description("list approvals, newest first")
    .option("--status <statuses>", `some of ${approvalStatuses.join(", ")}`, choicesOption(approvalStatuses))
    .option("--room <room-id>", "only approvals of this room")
    .option("--run <run-id>", "only approvals of this run")
    .option("--agent <agent-id>", "only approvals of this agent's runs")
    .option("--assignee <principal>", "only those that this principal may decide, for example user:alice; me for you")
    .addOption(new Option("--min-risk <risk>", "only this risk and above; unknown is above all").choices(risks))
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox approvals ls --status pending,held
  $ signalbox approvals ls --status pending --assignee me --as user:alice
  $ signalbox approvals ls --min-risk high --json`,
    )
    .action((options: ListApprovalsOptions) =>
      act(async (cli) => (await import("../actions/approvals.ts")).listApprovals(cli, options)),
    );
  approvals
    .command("show <approval-id>")
    .alias("get")
    .description("show an approval with everything that would be done")
    .addHelpText("after", "\nExamples:\n  $ signalbox approvals show appr_01J…")
    .action((approvalId: string) =>
      act(async (cli) => (await import("../actions/approvals.ts")).showApproval(cli, approvalId)),
    );
}

function addApprove(approvals: Command, act: Act): void {
  approvals
    .command("approve <approval-id>")
    .description("allow exactly what is shown, once")
    .option("--yes", "do not ask; approve what is there by now")
    .option(...digestOption)
    .option("--edit <file>", "replace the payload by the JSON of a file, or - for stdin, and approve that")
    .option(...commentOption)
    .addHelpText(
      "after",
      `
Shows what is to be done and asks. What is approved is what was shown: when the payload changes meanwhile, the command is
refused. Scripts give --yes, or --digest with the digest of what somebody has looked at.

Examples:
  $ signalbox approvals approve appr_01J… --as user:alice
  $ signalbox approvals approve appr_01J… --edit smaller.json --comment "half of it"
  $ signalbox approvals approve appr_01J… --digest "$(jq -r .payloadDigest seen.json)"`,
    )
    .action((approvalId: string, options: ApproveOptions) =>
      act(async (cli) => (await import("../actions/approving.ts")).approve(cli, approvalId, options)),
    );
}

function addRefusing(approvals: Command, act: Act): void {
  approvals
    .command("deny <approval-id>")
    .description("forbid it; the run is told")
    .option(...commentOption)
    .option(...digestOption)
    .addHelpText("after", '\nExamples:\n  $ signalbox approvals deny appr_01J… --comment "wrong customer"')
    .action((approvalId: string, options: DecisionOptions) =>
      act(async (cli) => (await import("../actions/approvals.ts")).deny(cli, approvalId, options)),
    );
  approvals
    .command("hold <approval-id>")
    .description("say that you look into it: it waits, and does not expire")
    .option(...commentOption)
    .option(...digestOption)
    .addHelpText("after", '\nExamples:\n  $ signalbox approvals hold appr_01J… --comment "asking legal"')
    .action((approvalId: string, options: DecisionOptions) =>
      act(async (cli) => (await import("../actions/approvals.ts")).hold(cli, approvalId, options)),
    );
}

function addChanging(approvals: Command, act: Act): void {
  approvals
    .command("edit <approval-id> <payload>")
    .description("replace the payload: JSON, @file, or - for stdin; it has to be approved anew")
    .option(...commentOption)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox approvals edit appr_01J… '{"amount":10}'
  $ signalbox approvals edit appr_01J… @smaller.json --comment "half of it"`,
    )
    .action((approvalId: string, payload: string, options: CommentOptions) =>
      act(async (cli) => (await import("../actions/approvals.ts")).editApproval(cli, approvalId, payload, options)),
    );
  approvals
    .command("delegate <approval-id> <principal>")
    .description("let somebody else decide in your place")
    .option(...commentOption)
    .addHelpText("after", "\nExamples:\n  $ signalbox approvals delegate appr_01J… user:bob --as user:alice")
    .action((approvalId: string, delegateTo: string, options: CommentOptions) =>
      act(async (cli) => (await import("../actions/approvals.ts")).delegate(cli, approvalId, delegateTo, options)),
    );
}
