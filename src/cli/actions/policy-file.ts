import { create, fromJsonString } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { fileArgument } from "./text-argument.ts";

/**
 * The policy of a file, or of stdin for a single -. JSON is the whole policy; anything else is rules in Cedar, which take the
 * place of those of the present policy.
 */
export async function readPolicy(
  client: Pick<SignalboxClient, "policy">,
  { signal }: Pick<Cli, "signal">,
  option: string,
  path: string,
): Promise<Policy> {
  const text = await fileArgument(option, path);
  if (/^\s*\{/.test(text)) return parsed(option, text);
  const { policy = create(PolicySchema) } = await client.policy.getPolicy({}, { signal });
  // The note was about the version before.
  return { ...policy, cedar: text, note: "" };
}

function parsed(option: string, text: string): Policy {
  try {
    return fromJsonString(PolicySchema, text);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(
      `${option} is no policy: ${cause}`,
      "`signalbox policy show --json` prints one that can be changed and put.",
    );
  }
}
