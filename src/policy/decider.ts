import { create } from "@bufbuild/protobuf";
import { PrincipalType, type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { PolicyPutSchema } from "../../gen/signalbox/v1/policy_event_pb.ts";
import { type Policy, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { emptyPolicy, policyHash } from "./policy-hash.ts";
import type { PolicyState } from "./state.ts";

/**
 * policy.put; nothing when the policy says this already, whatever its etag and note, so that a put may be repeated.
 * ETAG_MISMATCH. That it can be understood is checked before.
 */
export function putPolicy(state: PolicyState, wanted: Policy): Draft | undefined {
  const before = state.status === "absent" ? emptyPolicy : state.policy;
  const hash = policyHash(wanted);
  if (policyHash(before) === hash) return undefined;
  requireEtag(before.etag, wanted.etag);
  const { cedar, actions, roles, approval, denyUnregistered, note } = wanted;
  const policy = create(PolicySchema, {
    policyHash: hash,
    cedar,
    actions,
    roles,
    denyUnregistered,
    note,
    ...(approval === undefined ? {} : { approval }),
  });
  return {
    payload: { case: "policyPut", value: create(PolicyPutSchema, { policy }) },
    zone: Zone.HIGH_STAKES,
  };
}

/** The error for a version that there is not. */
export function policyNotFound(version: bigint): SignalboxError {
  return new SignalboxError(
    "POLICY_NOT_FOUND",
    `the workspace's policy has no version ${version}; ListPolicyVersions has those there are`,
  );
}

/**
 * PERMISSION_DENIED for an agent, and for what acts on an agent's behalf: whoever is held by rules does not loosen them.
 * `what` completes "agents do not …".
 */
export function requireNoAgent(principal: Principal, what: string): void {
  const agent = [principal, ...principal.onBehalfOf].find(({ type }) => type === PrincipalType.AGENT);
  if (agent === undefined) return;
  throw new SignalboxError("PERMISSION_DENIED", `agents do not ${what}; let a person do it, or a program of theirs`, {
    agent_id: agent.id,
  });
}

function requireEtag(present: string, given: string): void {
  if (given === "" || given === present) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `the policy has changed since etag ${JSON.stringify(given)} was read; read it again and repeat the put`,
    { etag: present },
  );
}
