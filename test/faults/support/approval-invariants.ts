import { createHash } from "node:crypto";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { timestampMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { ApprovalDecided, ApprovalRequested } from "../../../gen/signalbox/v1/approval_event_pb.ts";
import { ApprovalStatus, ApprovalVerdict } from "../../../gen/signalbox/v1/approval_pb.ts";
import { type Principal, PrincipalType, PrincipalTypeSchema, Zone } from "../../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import { type Action, Decision } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { ToolCallStarted } from "../../../gen/signalbox/v1/run_event_pb.ts";
import { ToolEffect, ToolEffectSchema } from "../../../gen/signalbox/v1/run_pb.ts";
import type { LogEvent, Violation } from "../../support/invariants.ts";

/** What a tool did outside, as its own record has it. */
export interface Effect {
  readonly toolCallId: string;
  readonly args: JsonValue;
}

/** An approval as its events say, folded here once more so that the product's own fold is not trusted. */
interface Approval {
  readonly workspaceId: string;
  readonly zone: Zone;
  readonly request: ApprovalRequested;
  payload: Value | undefined;
  digest: string;
  editor: string | undefined;
  /** Those who have approved the present payload. */
  approvers: Map<string, Principal>;
  deciders: Set<string>;
  readonly delegated: Set<string>;
  status: "open" | "approved" | "denied" | "expired" | "canceled" | "consumed";
  expireMs: number | undefined;
  /** Times that a call was started with it. */
  starts: number;
  /** Times that its run was told. */
  told: number;
}

type Say = (problem: string) => void;
type Payload = Extract<Event["payload"], { case: `approval${string}` }>;

function isOfApproval(payload: Event["payload"]): payload is Payload {
  return payload.case?.startsWith("approval") ?? false;
}

/**
 * I6 over a whole log and what tools did: an approval is consumed at most once, by the call that it was asked for, in time,
 * on the digest that enough of those who may have approved; what is started is what was approved, after it was consumed;
 * every external write has leave; and every effect was started, with these arguments, and happened once.
 */
export function checkApprovals(log: readonly LogEvent[], effects: readonly Effect[] = []): Violation[] {
  const violations: Violation[] = [];
  const approvals = new Map<string, Approval>();
  const started = new Map<string, Set<string>>();
  for (const { event, name } of log) {
    const say = (problem: string) => void violations.push({ invariant: "I6", at: name, problem });
    if (event.stream?.type === "approval") checkApproval(approvals, event, say);
    if (event.stream?.type === "run") checkRun(approvals, started, event, say);
  }
  return [...violations, ...checkEffects(started, effects)];
}

function checkApproval(approvals: Map<string, Approval>, event: Event, say: Say): void {
  const { payload, workspaceId, zone } = event;
  const id = event.stream?.id ?? "";
  const approval = approvals.get(`${workspaceId}/${id}`);
  if (payload.case === "approvalRequested") {
    if (approval !== undefined) say("it was asked for before");
    const asked = requested(workspaceId, zone, payload.value);
    if (digestOf(asked, payload.value.action, asked.payload) !== asked.digest) say("the digest is not the payload's");
    approvals.set(`${workspaceId}/${id}`, asked);
    return;
  }
  if (approval === undefined) return say("nobody has asked for it");
  if (!isOfApproval(payload)) return say("does not belong into the stream of an approval");
  const nowMs = event.createTime === undefined ? 0 : timestampMs(event.createTime);
  change(approval, payload, nowMs, say);
}

function requested(workspaceId: string, zone: Zone, request: ApprovalRequested): Approval {
  return {
    workspaceId,
    zone,
    request,
    payload: request.payload,
    digest: request.payloadDigest,
    editor: undefined,
    approvers: new Map(),
    deciders: new Set(request.deciders),
    delegated: new Set(),
    status: "open",
    expireMs: request.expireTime && timestampMs(request.expireTime),
    starts: 0,
    told: 0,
  };
}

function change(approval: Approval, payload: Payload, nowMs: number, say: Say): void {
  const isOver = approval.status !== "open" && approval.status !== "approved";
  if (isOver) say(`it is ${approval.status} already`);
  switch (payload.case) {
    case "approvalDecided":
      return decide(approval, payload.value, nowMs, say);
    case "approvalEdited":
      if (digestOf(approval, approval.request.action, payload.value.payload) !== payload.value.payloadDigest)
        say("the digest is not the edited payload's");
      approval.payload = payload.value.payload;
      approval.digest = payload.value.payloadDigest;
      approval.editor = payload.value.editedBy && nameOf(payload.value.editedBy);
      approval.approvers = new Map();
      return;
    case "approvalDelegated":
      approval.deciders.delete(payload.value.delegateBy);
      approval.delegated.add(payload.value.delegateBy);
      approval.deciders.add(payload.value.delegateTo);
      return;
    case "approvalEscalated":
      for (const name of payload.value.deciders) approval.deciders.add(name);
      return;
    case "approvalExpired":
      if (approval.expireMs === undefined || nowMs < approval.expireMs) say("its time is not over");
      approval.status = "expired";
      return;
    case "approvalCanceled":
      approval.status = "canceled";
      return;
    case "approvalConsumed": {
      const { runId, toolCallId, stepId, payloadDigest, policyHash } = payload.value;
      const { request } = approval;
      if (approval.status !== "approved") say(`it is consumed while it is ${approval.status}`);
      if (approval.expireMs === undefined || nowMs >= approval.expireMs) say("it is consumed after its time");
      if (runId !== request.runId || toolCallId !== request.toolCallId || stepId !== request.stepId)
        say("it is consumed by another call than has asked");
      if (payloadDigest !== approval.digest) say("what is consumed is not what was approved");
      if (policyHash !== request.decision?.policyHash) say("it is consumed under another policy");
      if (approval.approvers.size < (request.decision?.terms?.requiredCount || 1)) say("too few have approved it");
      approval.status = "consumed";
      return;
    }
    case "approvalRequested":
      return;
  }
}

function decide(approval: Approval, value: ApprovalDecided, nowMs: number, say: Say): void {
  const { verdict, decideBy, payloadDigest, status, expireTime } = value;
  const name = decideBy === undefined ? "nobody" : nameOf(decideBy);
  if (approval.expireMs !== undefined && nowMs >= approval.expireMs) say("it is decided after its time");
  if (decideBy === undefined || !mayDecide(approval, decideBy)) say(`${name} may not decide`);
  if (payloadDigest !== approval.digest) say("another payload than the present one is decided on");
  if (verdict === ApprovalVerdict.APPROVE && isInvolved(approval, name)) say(`${name} approves what is their own`);
  if (decideBy !== undefined && verdict === ApprovalVerdict.APPROVE) approval.approvers.set(name, decideBy);
  else approval.approvers.delete(name);
  const enough = approval.approvers.size >= (approval.request.decision?.terms?.requiredCount || 1);
  if (status === ApprovalStatus.APPROVED && !enough) say("it counts as approved, but too few have approved it");
  if (status === ApprovalStatus.DENIED && verdict !== ApprovalVerdict.DENY) say("nobody has denied it");
  if (verdict === ApprovalVerdict.DENY && status !== ApprovalStatus.DENIED) say("it was denied");
  approval.status =
    status === ApprovalStatus.APPROVED ? "approved" : status === ApprovalStatus.DENIED ? "denied" : "open";
  approval.expireMs = expireTime && timestampMs(expireTime);
}

function mayDecide({ request, deciders, delegated }: Approval, { type, id }: Principal): boolean {
  const name = nameOf({ type, id });
  if (deciders.has(name)) return true;
  if ((request.decision?.terms?.deciders.length ?? 0) > 0 || delegated.has(name)) return false;
  return type === PrincipalType.USER || type === PrincipalType.SERVICE;
}

function isInvolved({ zone, request: { requestedBy }, editor }: Approval, name: string): boolean {
  if (zone !== Zone.HIGH_STAKES) return false;
  const asking = requestedBy === undefined ? [] : [requestedBy, ...requestedBy.onBehalfOf].map(nameOf);
  return asking.includes(name) || editor === name;
}

function checkRun(
  approvals: ReadonlyMap<string, Approval>,
  started: Map<string, Set<string>>,
  event: Event,
  say: Say,
): void {
  const { payload, workspaceId } = event;
  const runId = event.stream?.id ?? "";
  const find = (id: string) => approvals.get(`${workspaceId}/${id}`);
  if (payload.case === "toolCallStarted") {
    const { toolCallId, approvalId } = payload.value;
    checkStart(payload.value, approvalId === "" ? undefined : find(approvalId), say);
    const known = started.get(toolCallId) ?? new Set();
    started.set(toolCallId, known.add(textOf(jsonOf(payload.value.arguments))));
  }
  if (payload.case === "toolCallDenied" && payload.value.error?.code === "APPROVAL_DENIED") {
    if (find(payload.value.approvalId)?.status !== "denied") say("it is refused, but nobody has denied it");
  }
  if (payload.case !== "runApprovalDecided") return;
  const approval = find(payload.value.approvalId);
  if (approval === undefined || approval.request.runId !== runId)
    return say("the run hears of what it never asked for");
  approval.told++;
  if (approval.told > 1) say("the run hears of the same decision again");
  const status = statusNames[payload.value.status] ?? "open";
  // Used or gone meanwhile: it was decided so before.
  const hasMovedOn = approval.status === "consumed" || approval.status === "expired" || approval.status === "canceled";
  if (approval.status !== status && !(hasMovedOn && status === "approved")) {
    say(`the run hears that it is ${status}, and it is ${approval.status}`);
  }
}

const statusNames: Readonly<Partial<Record<ApprovalStatus, Approval["status"]>>> = {
  [ApprovalStatus.APPROVED]: "approved",
  [ApprovalStatus.DENIED]: "denied",
  [ApprovalStatus.EXPIRED]: "expired",
  [ApprovalStatus.CANCELED]: "canceled",
};

function checkStart(start: ToolCallStarted, approval: Approval | undefined, say: Say): void {
  const { toolCallId, approvalId, payloadDigest, effect, idempotent, decision } = start;
  if (approvalId === "") {
    const isFree = decision?.decision === Decision.ALLOW;
    if (effect === ToolEffect.EXTERNAL_WRITE && !isFree) say("an external write without leave");
    return;
  }
  if (approval === undefined) return say(`it is started with ${approvalId}, which nobody has asked for`);
  approval.starts++;
  if (approval.starts > 1 && !idempotent) say(`it is started with ${approvalId} again`);
  if (approval.status !== "consumed") say(`it is started with ${approvalId}, which is ${approval.status}`);
  if (approval.request.toolCallId !== toolCallId) say(`${approvalId} is another call's`);
  if (payloadDigest !== approval.digest) say("it is not started with the digest that was approved");
  const { tool: type, target, reversible } = start;
  const digest = digestOf(approval, { type, target, effect, reversible, idempotent }, start.arguments);
  if (digest !== approval.digest) say("what is started is not what was approved");
}

function checkEffects(started: ReadonlyMap<string, ReadonlySet<string>>, effects: readonly Effect[]): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  for (const { toolCallId, args } of effects) {
    const say = (problem: string) => violations.push({ invariant: "I6", at: `effect of ${toolCallId}`, problem });
    const starts = started.get(toolCallId);
    if (starts === undefined) say("it was never started");
    else if (!starts.has(textOf(args))) say("it was started with something else");
    if (seen.has(toolCallId)) say("it happens again");
    seen.add(toolCallId);
  }
  return violations;
}

/** As docs/approvals.md says, from the events alone. */
function digestOf(
  { workspaceId, request }: Approval,
  action: Omit<Action, "$typeName" | "$unknown"> | undefined,
  payload: Value | undefined,
): string {
  const { runId: run_id, toolCallId: tool_call_id, stepId: step_id, decision } = request;
  const { type = "", target = "", effect = 0, reversible = false, idempotent = false } = action ?? {};
  const bound = {
    domain: "signalbox.approval.v1",
    workspace_id: workspaceId,
    run_id,
    tool_call_id,
    step_id,
    action: { type, target, effect: ToolEffectSchema.value[effect]?.name ?? "", reversible, idempotent },
    policy_hash: decision?.policyHash ?? "",
    payload: jsonOf(payload),
  };
  return createHash("sha256").update(textOf(bound)).digest("hex");
}

function jsonOf(value: Value | undefined): JsonValue {
  return value === undefined ? null : toJson(ValueSchema, value);
}

/** Canonical JSON: members by name. JSON.stringify writes numbers and texts as RFC 8785 wants them. */
function textOf(value: JsonValue): string {
  return JSON.stringify(value, (_key, each: JsonValue) =>
    each !== null && typeof each === "object" && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

function nameOf({ type, id }: Pick<Principal, "type" | "id">): string {
  return `${PrincipalTypeSchema.value[type]?.localName.toLowerCase()}:${id}`;
}
