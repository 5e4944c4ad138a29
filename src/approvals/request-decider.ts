import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, type Value } from "@bufbuild/protobuf/wkt";
import { ApprovalRequestedSchema } from "../../gen/signalbox/v1/approval_event_pb.ts";
import { type Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import {
  type ApprovalTerms,
  type PolicyDecision,
  PolicyDecisionSchema,
  type Role,
} from "../../gen/signalbox/v1/policy_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { payloadDigest } from "./digest.ts";
import type { ApprovalState } from "./state.ts";

/** What people are asked. */
export interface NewApproval {
  readonly approvalId: string;
  readonly runId: string;
  /** Empty when a step asks. */
  readonly toolCallId: string;
  /** Empty when a tool call asks. */
  readonly stepId: string;
  /** The run's agent; empty for none. */
  readonly agentId: string;
  readonly roomId: string;
  readonly threadId: string;
  readonly zone: Zone;
  readonly payload: Value | undefined;
  /** What the policy said, with the action as it was judged and the terms. */
  readonly decision: PolicyDecision;
  readonly requestedBy: Principal;
  /** Who wrote the payload, in the place of what the run wanted, when people were asked before; undefined for nobody. */
  readonly editedBy: Principal | undefined;
}

const defaultTtlMs = 24 * 3_600_000;
const leastTtlMs = 1_000;

/**
 * approval.requested; nothing when it is on record: the same id asks the same. `roles` are those of the policy that decided.
 * INVALID_REQUEST for terms that name a role that there is not, or a ttl below one second.
 */
export function requestApproval(
  state: ApprovalState,
  workspaceId: string,
  request: NewApproval,
  roles: readonly Role[],
  now: Date,
): Draft | undefined {
  if (state.status !== "absent") return undefined;
  const { runId, toolCallId, stepId, agentId, payload, requestedBy, editedBy, decision } = request;
  const { action, terms, policyHash } = decision;
  const ttlMs = ttlOf(terms);
  const escalateMs = terms?.escalateAfter ? durationMs(terms.escalateAfter) : 0;
  const escalates = escalateMs > 0 && (terms?.escalateTo.length ?? 0) > 0;
  const value = create(ApprovalRequestedSchema, {
    runId,
    toolCallId,
    stepId,
    agentId,
    action,
    payload,
    payloadDigest: payloadDigest({ workspaceId, runId, toolCallId, stepId, action, policyHash, payload }),
    decision: withoutPayload(decision),
    requestedBy,
    editedBy,
    deciders: byName(terms?.deciders ?? [], roles),
    expireTime: timestampFromMs(now.getTime() + ttlMs),
    escalateTime: escalates ? timestampFromMs(now.getTime() + escalateMs) : undefined,
    escalateDeciders: byName(terms?.escalateTo ?? [], roles),
    ttl: durationFromMs(ttlMs),
  });
  return { payload: { case: "approvalRequested", value }, zone: request.zone || Zone.SANDBOX };
}

function ttlOf(terms: ApprovalTerms | undefined): number {
  const ttlMs = terms?.ttl ? durationMs(terms.ttl) : 0;
  if (ttlMs === 0) return defaultTtlMs;
  if (ttlMs >= leastTtlMs) return ttlMs;
  throw new SignalboxError(
    "INVALID_REQUEST",
    `terms.ttl is ${ttlMs} ms; give at least ${leastTtlMs} ms, or 0 for 24 h`,
  );
}

/** Those who are named, each once, roles by their members. */
function byName(deciders: readonly string[], roles: readonly Role[]): string[] {
  const names = deciders.flatMap((decider) => {
    if (!decider.startsWith("role:")) return [decider];
    const role = roles.find(({ name }) => decider === `role:${name}`);
    if (role !== undefined) return role.members;
    throw new SignalboxError(
      "INVALID_REQUEST",
      `terms name ${decider}, but the policy has no such role; put it there, or name principals such as user:alice`,
    );
  });
  return [...new Set(names)];
}

function withoutPayload(decision: PolicyDecision): PolicyDecision {
  const { context } = decision;
  if (context === undefined) return decision;
  return create(PolicyDecisionSchema, { ...decision, context: { ...context, payload: undefined } });
}
