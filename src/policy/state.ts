import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Policy } from "../../gen/signalbox/v1/policy_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolvePolicy } from "./resource.ts";

/** The id of a workspace's policy: it has one. */
export const policyId = "pol_main";

/** What decisions about a policy rest on. */
export type PolicyState = { readonly status: "absent" } | { readonly status: "present"; readonly policy: Policy };

/** Versions of which the state keeps one only count with this much at most: the cache must not lose a policy for its history. */
const heldBytesPerVersion = 64 * 1024;

/** Policies as aggregates. */
export const policyAggregate: AggregateDefinition<PolicyState> = {
  type: "policy",
  initial: { status: "absent" },
  evolve: evolvePolicyState,
  heldBytes: (_event, sizeBytes) => Math.min(sizeBytes, heldBytesPerVersion),
};

/** The state after one more event. Pure. */
export function evolvePolicyState(state: PolicyState, event: Event): PolicyState {
  const policy = evolvePolicy(state.status === "absent" ? undefined : state.policy, event);
  return policy === undefined ? state : { status: "present", policy };
}
