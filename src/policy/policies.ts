import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type Policy,
  type PolicyContext,
  type PolicyDecision,
  PolicySchema,
} from "../../gen/signalbox/v1/policy_pb.ts";
import type {
  EvaluateRequest,
  GetPolicyRequest,
  ListPolicyVersionsRequest,
  PutPolicyRequest,
  SimulatePolicyRequest,
  SimulatePolicyResponseSchema,
} from "../../gen/signalbox/v1/policy_service_pb.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { requireSize, requireStorable } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { policyNotFound, requireNoAgent } from "./decider.ts";
import { evaluatePolicy } from "./evaluation.ts";
import type { PolicyGate } from "./gate.ts";
import type { PolicyBook } from "./policy-book.ts";
import { withHash } from "./policy-hash.ts";
import { findPolicyVersion, listDecided, listPolicyVersions } from "./queries.ts";
import { simulate } from "./simulation.ts";

/** The policies of all workspaces; every call sees its own workspace only. */
export interface Policies {
  /** What a policy would say. INVALID_REQUEST, POLICY_NOT_FOUND, PAYLOAD_TOO_LARGE. */
  evaluate(call: Call, request: EvaluateRequest): Promise<PolicyDecision>;
  /** The recorded decisions that another policy would make otherwise. INVALID_REQUEST, READ_MODEL_BEHIND. */
  simulate(call: Call, request: SimulatePolicyRequest): Promise<MessageInitShape<typeof SimulatePolicyResponseSchema>>;
  /** Makes a new version. INVALID_REQUEST, ETAG_MISMATCH, PAYLOAD_TOO_LARGE, PERMISSION_DENIED for agents. */
  put(call: Call, request: PutPolicyRequest): Promise<{ policy: Policy; position: bigint }>;
  /** The present policy, or a version. POLICY_NOT_FOUND, READ_MODEL_BEHIND. */
  get(call: Call, request: GetPolicyRequest): Promise<Policy>;
  /** A page of versions, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListPolicyVersionsRequest): Promise<{ policies: Policy[]; nextPageToken: string }>;
}

/** What policies need. */
export interface PoliciesDeps {
  readonly book: PolicyBook;
  readonly gate: Pick<PolicyGate, "externalWrites">;
  readonly log: Pick<EventLog, "bounds">;
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  /** The largest payload that can be tried, in bytes: that of a tool call. */
  readonly maxPayloadBytes: number;
}

/** The largest policy: every read of one has to fit an answer that gRPC clients take by default. */
const maxPolicyBytes = 1024 * 1024;
/** Events that one query of a simulation reads, and how long one call goes on. */
const simulationBatch = 200;
const simulationMs = 2_000;

/** The policies on a log and its read models. */
export function createPolicies({ book, gate, log, db, positions, maxPayloadBytes }: PoliciesDeps): Policies {
  /** A version of the workspace's policy; 0 for the present one. */
  async function version({ workspaceId, signal }: Call, wanted: bigint): Promise<Policy> {
    const { policy, position } = await book.present(workspaceId);
    if (wanted === 0n || wanted === policy.version) return policy;
    if (wanted > policy.version) throw policyNotFound(wanted);
    // The table has every version up to the present one once it has reached that.
    await positions.reach(position, signal);
    const found = await findPolicyVersion(db, workspaceId, wanted);
    if (found === undefined) throw policyNotFound(wanted);
    return withHash(found);
  }

  /** The policy to try: the given one, else a kept version, else the one in force. */
  async function tried(call: Call, given: Policy | undefined, wanted: bigint): Promise<CompiledPolicy> {
    if (given !== undefined && wanted !== 0n) {
      throw new SignalboxError("INVALID_REQUEST", "policy and policy_version are both given; give one of them");
    }
    // A policy that was not put has no version, whatever it says.
    if (given !== undefined) return book.compile({ ...given, version: 0n });
    return wanted === 0n ? book.inForce(call.workspaceId) : book.compile(await version(call, wanted));
  }

  return {
    async evaluate(call, { context: given, policy, policyVersion }) {
      const context = requireAction(given);
      requireStorable("context.payload", context.payload, maxPayloadBytes);
      const [compiled, writes] = await Promise.all([
        tried(call, policy, policyVersion),
        gate.externalWrites(call.workspaceId),
      ]);
      const principal = context.principal ?? call.principal;
      const externalWritesStopped = context.externalWritesStopped || writes.stopped;
      return evaluatePolicy(compiled, { ...context, principal, externalWritesStopped }, writes.epoch);
    },
    async simulate(call, request) {
      const { policy: given, afterPosition: after, endPosition, startTime, pageSize, minPosition } = request;
      const { workspaceId, signal } = call;
      const policy = await tried(call, given, 0n);
      const { head } = await log.bounds();
      const upTo = endPosition === 0n || endPosition > head ? head : endPosition;
      // Decisions that nobody has read yet count as well: what is complete has to be so.
      await positions.reach(upTo > minPosition ? upTo : minPosition, signal);
      if (after >= upTo) return { nextPosition: after, complete: true };
      const since = startTime && timestampDate(startTime);
      const lateMs = performance.now() + simulationMs;
      const { flips, ...rest } = await simulate({
        policy,
        after,
        upTo,
        size: readPage("flips", [], pageSize, "").size,
        isLate: () => performance.now() > lateMs,
        read: (behind) => listDecided(db, workspaceId, { after: behind, upTo, since }, simulationBatch),
      });
      return { ...rest, flips, flipped: BigInt(flips.length) };
    },
    async put(call, { policy: wanted, validateOnly }) {
      if (wanted === undefined) throw new SignalboxError("INVALID_REQUEST", "policy is missing: say what it is to be");
      requireSize("policy", toBinary(PolicySchema, wanted).length, maxPolicyBytes, "name fewer members and actions");
      book.compile(wanted);
      if (!validateOnly) return book.put(call, wanted);
      requireNoAgent(call.principal, "change policies");
      const { policy, position } = await book.present(call.workspaceId);
      const { cedar, actions, roles, approval, denyUnregistered, note } = wanted;
      const shown = { ...policy, cedar, actions, roles, denyUnregistered, note };
      return { policy: withHash({ ...shown, ...(approval === undefined ? {} : { approval }) }), position };
    },
    async get(call, { version: wanted, minPosition }) {
      await positions.reach(minPosition, call.signal);
      return version(call, wanted);
    },
    async list({ workspaceId, signal }, { pageSize, pageToken, minPosition }) {
      const page = readPage("policy_versions", [workspaceId], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listPolicyVersions(db, workspaceId, page);
      return { policies: items.map(withHash), nextPageToken };
    },
  };
}

function requireAction(context: PolicyContext | undefined): PolicyContext {
  if (context?.action !== undefined) return context;
  throw new SignalboxError("INVALID_REQUEST", "context.action is missing: say what is to be done", {
    field: "context.action",
  });
}
