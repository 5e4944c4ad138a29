import type { Policy, Role } from "../../gen/signalbox/v1/policy_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { shareReads } from "../kernel/shared-reads.ts";
import type { Cedar } from "./cedar.ts";
import { brokenPolicy, type CompiledPolicy, compilePolicy } from "./compiled-policy.ts";
import { putPolicy, requireNoAgent } from "./decider.ts";
import { emptyPolicy, withHash } from "./policy-hash.ts";
import { policyAggregate, policyId, type PolicyState } from "./state.ts";

/** A workspace's policy and where its stream stands. */
export interface PolicyAt {
  readonly policy: Policy;
  /** Of its newest version; 0 before the first. */
  readonly position: bigint;
}

/** The policies in force. */
export interface PolicyBook {
  /** The policy of a workspace as the log's leader has it; version 0 when none was put. STORE_UNAVAILABLE. */
  present(workspaceId: string): Promise<PolicyAt>;
  /** The same, ready to judge. One that does not compile any more denies everything. STORE_UNAVAILABLE. */
  inForce(workspaceId: string): Promise<CompiledPolicy>;
  /** Its hash, for approvals: one that was asked for under another is void. STORE_UNAVAILABLE. */
  hashOf(workspaceId: string): Promise<string>;
  /** The roles in a version of a workspace's policy; none for version 0. STORE_UNAVAILABLE. */
  rolesOf(workspaceId: string, version: bigint): Promise<readonly Role[]>;
  /** Reads and checks a policy that is not put. INVALID_REQUEST names the place. */
  compile(policy: Policy): CompiledPolicy;
  /** Puts a policy that has been checked. ETAG_MISMATCH, PERMISSION_DENIED for agents. */
  put(call: Call, policy: Policy): Promise<PolicyAt>;
}

/** What policies need. */
export interface PolicyBookDeps extends AggregatesDeps {
  readonly cedar: Cedar;
}

/** The policies on a log. */
export function createPolicyBook({ cedar, ...deps }: PolicyBookDeps): PolicyBook {
  const { log } = deps;
  const aggregates = createAggregates(policyAggregate, deps);
  const compiled = new WeakMap<Policy, CompiledPolicy>();

  /**
   * The policy as the leader has it. A policy can be large, and this is on the way of every tool call: the leader is asked for
   * what follows on the version that is known, which mostly is nothing, and not for the newest one again; and once for all
   * calls that want to know it at the same time.
   */
  const load = shareReads(async (workspaceId: string): Promise<Loaded<PolicyState>> => {
    const known = aggregates.cached(workspaceId, policyId);
    const isNewest = known?.subject !== undefined && (await log.next(known.subject, known.position)) === undefined;
    return isNewest ? known : aggregates.load(workspaceId, policyId);
  });

  async function inForce(workspaceId: string): Promise<CompiledPolicy> {
    const { state } = await load(workspaceId);
    const policy = state.status === "absent" ? emptyPolicy : state.policy;
    const known = compiled.get(policy) ?? compileStored(policy, cedar);
    compiled.set(policy, known);
    return known;
  }

  return {
    inForce,
    async present(workspaceId) {
      return shown(workspaceId, await load(workspaceId));
    },
    hashOf: async (workspaceId) => (await inForce(workspaceId)).policyHash,
    async rolesOf(workspaceId, version) {
      const { state, position, subject } = await load(workspaceId);
      if (state.status === "present" && state.policy.version === version) return state.policy.roles;
      if (subject === undefined) return [];
      // It has changed since it decided.
      for await (const { event } of log.read(subject, 0n, position)) {
        const { payload, streamSequence } = event;
        if (payload.case === "policyPut" && streamSequence === version) return payload.value.policy?.roles ?? [];
      }
      return [];
    },
    compile: (policy) => compilePolicy(policy, cedar),
    async put(call, policy) {
      requireNoAgent(call.principal, "change policies");
      const decide = (state: PolicyState) => putPolicy(state, policy);
      return shown(call.workspaceId, await aggregates.execute({ call, id: policyId, decide }));
    },
  };
}

function shown(workspaceId: string, { state, position }: Loaded<PolicyState>): PolicyAt {
  return { policy: withHash(state.status === "absent" ? { ...emptyPolicy, workspaceId } : state.policy), position };
}

function compileStored(policy: Policy, cedar: Cedar): CompiledPolicy {
  try {
    return compilePolicy(policy, cedar);
  } catch (error) {
    return brokenPolicy(policy, error);
  }
}
