import { toJson } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "../../../gen/signalbox/v1/policy_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListVersionsOptions, PutPolicyOptions } from "../commands/policy.ts";
import { given } from "../given.ts";
import { policyTable, policyView } from "../views/policy-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { readPolicy } from "./policy-file.ts";

/** `signalbox policy show`. */
export async function showPolicy(cli: Cli, version = 0n): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.policy.getPolicy({ version }, { signal: cli.signal })).policy);
}

/** `signalbox policy put`. */
export async function putPolicy(cli: Cli, file: string, options: PutPolicyOptions): Promise<ExitCode> {
  const { note, etag, check = false } = options;
  using client = openClient(cli);
  const policy = { ...(await readPolicy(client, cli, "<file>", file)), ...given({ note, etag }) };
  const put = (await client.policy.putPolicy({ policy, validateOnly: check }, { signal: cli.signal })).policy;
  if (check) cli.output.note("the policy can be put; nothing was recorded");
  return show(cli, put);
}

/** `signalbox policy versions`. */
export async function listVersions(cli: Cli, { limit }: ListVersionsOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const policies: Policy[] = await pages(limit, async (page) => {
    const response = await client.policy.listPolicyVersions(page, { signal: cli.signal });
    return { items: response.policies, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, policies, (policy) => toJson(PolicySchema, policy), policyTable);
  return exitCodes.ok;
}

function show({ output }: Cli, policy: Policy | undefined): ExitCode {
  if (policy === undefined) throw new Error("the server answered without a policy");
  output.show(toJson(PolicySchema, policy), policyView(policy));
  return exitCodes.ok;
}
