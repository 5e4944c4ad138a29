import { type Command, Option } from "commander";
import type { Principal } from "../../../gen/signalbox/v1/common_pb.ts";
import type { Act } from "../cli.ts";
import { bigNumberOption, countOption, labelOption, positionOption, principalOption, zones } from "../option-values.ts";

/** What an action can change, as people type it. */
export const effects = ["read", "write", "external_write"] as const;

/** Options of `policy put`. */
export interface PutPolicyOptions {
  readonly note?: string;
  readonly etag?: string;
  readonly check?: true;
}

/** Options that name a policy to try. */
export interface TriedPolicyOptions {
  /** A file of a policy that is not put yet, or - for stdin. */
  readonly policy?: string;
}

/** Options of `policy eval`. */
export interface EvaluateOptions extends TriedPolicyOptions {
  readonly policyVersion?: bigint;
  readonly effect?: (typeof effects)[number];
  readonly target?: string;
  readonly reversible?: true;
  readonly idempotent?: true;
  /** JSON or a text, @file, or - for stdin. */
  readonly payload?: string;
  readonly principal?: Principal;
  readonly zone?: (typeof zones)[number];
  readonly agent?: string;
  readonly handler?: string;
  readonly room?: string;
  readonly label?: Record<string, string>;
  readonly stopped?: true;
}

/** Options of `policy simulate`. */
export interface SimulateOptions extends TriedPolicyOptions {
  readonly from?: bigint;
  readonly to?: bigint;
  readonly limit: number;
}

/** Options of `policy versions`. */
export interface ListVersionsOptions {
  readonly limit: number;
}

/** Adds `policy`. */
export function addPolicy(program: Command, act: Act): void {
  const policy = program.command("policy").description("say what runs may do");
  addKeeping(policy, act);
  addTrying(policy, act);
}

function addKeeping(policy: Command, act: Act): void {
  policy
    .command("show")
    .alias("get")
    .argument("[version]", "an earlier version (default: the present one)", bigNumberOption)
    .description("show the policy of the workspace")
    .addHelpText("after", "\nExamples:\n  $ signalbox policy show\n  $ signalbox policy show 3 --json")
    .action((version: bigint | undefined) =>
      act(async (cli) => (await import("../actions/policy.ts")).showPolicy(cli, version)),
    );
  policy
    .command("put <file>")
    .description("make a new version: rules in Cedar, or a whole policy as JSON; - for stdin")
    .option("--note <text>", "why, for people")
    .option("--etag <etag>", "refuse when there is another version than the one with this etag by now")
    .option("--check", "check it and put nothing")
    .addHelpText(
      "after",
      `
Rules in Cedar replace the rules and leave actions, roles and terms as they are. JSON replaces everything; it is what
\`signalbox policy show --json\` prints. What does not parse is refused, and the old policy stays.

Examples:
  $ signalbox policy put rules.cedar --note "no mail at night"
  $ signalbox policy put policy.json --check
  $ signalbox policy show --json | jq '.denyUnregistered = true' | signalbox policy put -`,
    )
    .action((file: string, options: PutPolicyOptions) =>
      act(async (cli) => (await import("../actions/policy.ts")).putPolicy(cli, file, options)),
    );
  policy
    .command("versions")
    .description("list the versions, newest first")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox policy versions")
    .action((options: ListVersionsOptions) =>
      act(async (cli) => (await import("../actions/policy.ts")).listVersions(cli, options)),
    );
}

function addTrying(policy: Command, act: Act): void {
  tried(policy.command("eval <action>"))
    .description("say what the policy would decide of an action, for example of mail.send; records nothing")
    .addOption(new Option("--effect <effect>", "what it can change (default: unknown)").choices(effects))
    .option("--target <text>", "what it is done to, for example mailto:a@example.com")
    .option("--reversible", "it can be undone")
    .option("--idempotent", "doing it twice does no more than doing it once")
    .option("--payload <json>", "what it is done with: JSON or a text, @file, or - for stdin")
    .option("--principal <name>", "who asks, for example agent:agt_01J… (default: you)", principalOption)
    .addOption(new Option("--zone <zone>", "how much is at stake").choices(zones))
    .option("--agent <agent-id>", "the run's agent")
    .option("--handler <name>", "the run's handler")
    .option("--room <room-id>", "the run's room")
    .option("--label <key=value>", "a label of the run; may be given more than once", labelOption)
    .option("--stopped", "as if a kill switch were on")
    .option("--policy-version <number>", "with this version (default: the present one)", bigNumberOption)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox policy eval mail.send --effect external_write --target mailto:a@example.com
  $ signalbox policy eval bank.transfer --effect external_write --payload '{"cents":500}' --policy rules.cedar`,
    )
    .action((action: string, options: EvaluateOptions) =>
      act(async (cli) => (await import("../actions/policy-trial.ts")).evaluate(cli, action, options)),
    );
  tried(policy.command("simulate"))
    .description("make the recorded decisions again and list those that would be another one")
    .option("--from <position>", "only decisions recorded after this position", positionOption)
    .option("--to <position>", "only decisions recorded up to this position", positionOption)
    .option("--limit <count>", "how many at most", countOption, 200)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox policy simulate --policy rules.cedar
  $ signalbox policy simulate --policy policy.json --from 4711 --json`,
    )
    .action((options: SimulateOptions) =>
      act(async (cli) => (await import("../actions/policy-trial.ts")).simulate(cli, options)),
    );
}

function tried(command: Command): Command {
  return command.option("--policy <file>", "with a policy that is not put yet: Cedar or JSON, - for stdin");
}
