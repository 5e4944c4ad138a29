import { type Approval, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { type Principal, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { personBehind, principalName } from "../kernel/principal.ts";

/** Who decides, as the rules count. */
export interface Decider {
  /** The person behind the call, or the program that acts for nobody; without a chain. */
  readonly person: Principal;
  /** The person's name, as `user:alice`. */
  readonly name: string;
  /** The names of everyone in the call's chain, its principal included. */
  readonly chain: readonly string[];
}

/** Who decides when this principal calls. */
export function deciderOf(caller: Principal): Decider {
  const person = personBehind(caller);
  return { person, name: principalName(person), chain: namesOf(caller) };
}

/**
 * True for who is named, and where nobody had to be named, for everybody but agents and those who have let somebody else
 * decide. A role without members lets nobody decide.
 */
export function mayDecide(approval: Approval, { person, name }: Pick<Decider, "person" | "name">): boolean {
  if (approval.deciders.includes(name)) return true;
  if (approval.requiredApprovers.length > 0 || approval.delegatedBy.includes(name)) return false;
  return person.type === PrincipalType.USER || person.type === PrincipalType.SERVICE;
}

/**
 * True in the zone high_stakes for everyone who has a part in the question: who asks, those on whose behalf, and who wrote
 * the present payload. Whatever comes through the one who asks counts as that one, whoever else it names.
 */
export function isInvolved(approval: Approval, { name, chain }: Pick<Decider, "name" | "chain">): boolean {
  if (approval.zone !== Zone.HIGH_STAKES) return false;
  const [requester, ...behind] = approval.requestedBy ? namesOf(approval.requestedBy) : [];
  if (requester !== undefined && chain.includes(requester)) return true;
  return behind.includes(name) || (approval.editedBy !== undefined && principalName(approval.editedBy) === name);
}

/** The names of those whose newest decision on the present payload is to approve it, each once, in order of their first. */
export function approversOf({ decisions, payloadDigest, editPosition }: Approval): string[] {
  const newest = new Map<string, ApprovalVerdict>();
  for (const decision of decisions) {
    if (decision.position <= editPosition || decision.decideBy === undefined) continue;
    const approved = decision.payloadDigest === payloadDigest;
    newest.set(principalName(decision.decideBy), approved ? decision.verdict : ApprovalVerdict.UNSPECIFIED);
  }
  return [...newest].flatMap(([name, verdict]) => (verdict === ApprovalVerdict.APPROVE ? [name] : []));
}

function namesOf(principal: Principal): string[] {
  return [principal, ...principal.onBehalfOf].map(principalName);
}
