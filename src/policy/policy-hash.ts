import { create, toJson } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { canonicalJson } from "../kernel/canonical-json.ts";
import { sha256 } from "../kernel/digest.ts";

/** Part of every hash: one more whenever default-rules.ts or what rules get to see changes, so that approvals are asked anew. */
const defaultsVersion = 1;

/** What a workspace goes by that has put no policy: version 0. */
export const emptyPolicy: Policy = create(PolicySchema, { etag: "0" });

/**
 * SHA-256, in hex, of what a policy says: its rules, registry, roles and terms, not its note or who put it. The order of
 * actions, roles and their members makes no difference.
 */
export function policyHash({ cedar, actions, roles, approval, denyUnregistered }: Policy): string {
  const content = create(PolicySchema, {
    cedar,
    actions: actions.toSorted((a, b) => (a.type < b.type ? -1 : 1)),
    roles: roles
      .map((role) => ({ ...role, members: role.members.toSorted() }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    denyUnregistered,
    ...(approval === undefined ? {} : { approval }),
  });
  const said = { domain: "signalbox.policy.v1", defaults: defaultsVersion, policy: toJson(PolicySchema, content) };
  return Buffer.from(sha256(Buffer.from(canonicalJson(said)))).toString("hex");
}

/** The policy with the hash that this program gives it: after a change of the default rules that is not the recorded one. */
export function withHash(policy: Policy): Policy {
  return { ...policy, policyHash: policyHash(policy) };
}
