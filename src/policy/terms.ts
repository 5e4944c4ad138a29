import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, type Duration } from "@bufbuild/protobuf/wkt";
import { type ApprovalTerms, ApprovalTermsSchema, type Role } from "../../gen/signalbox/v1/policy_pb.ts";

/** The members of each role, by its name. */
export type Roles = ReadonlyMap<string, readonly string[]>;

const defaultTtlMs = 24 * 60 * 60 * 1000;
const maxMs = 30 * defaultTtlMs;
const maxCount = 20;
const namePattern = /^(?:(?:user|agent|service):[!-~]{1,200}|role:[a-z0-9_-]{1,64})$/;
const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The roles by name; what is wrong with them as a string. */
export function readRoles(roles: readonly Role[]): Roles | string {
  const members = new Map<string, readonly string[]>();
  for (const role of roles) {
    if (members.has(role.name)) return `role ${JSON.stringify(role.name)} stands twice; leave one of them`;
    members.set(role.name, role.members);
  }
  return members;
}

/**
 * The terms that the annotations of a rule set, unset where they say nothing: `@approvers("2 of role:finance, user:bob")`,
 * `@ttl("1h")`, `@escalate("30m to role:leads")`. What is wrong with them as a string.
 */
export function readTerms(annotations: Readonly<Record<string, string>>): ApprovalTerms | string {
  const { approvers, ttl, escalate } = annotations;
  const terms = create(ApprovalTermsSchema);
  if (approvers !== undefined) {
    const [, count, names = ""] = /^(?:(\d{1,3})(?: of |$))?(.*)$/.exec(approvers) ?? [];
    terms.requiredCount = Number(count ?? 0);
    terms.deciders = namesIn(names);
    const isEmpty = count === undefined ? terms.deciders.length === 0 : terms.requiredCount === 0;
    if (isEmpty) return '@approvers takes a number, names, or both: "2 of role:finance, user:bob"';
  }
  if (ttl !== undefined) {
    const duration = readDuration(ttl);
    if (duration === undefined) return '@ttl takes a number with s, m, h or d: "1h"';
    terms.ttl = duration;
  }
  if (escalate !== undefined) {
    const [, after = "", names = ""] = /^(\d+[smhd]) to (.+)$/.exec(escalate) ?? [];
    const duration = readDuration(after);
    if (duration === undefined) return '@escalate takes a time and names: "30m to role:leads"';
    terms.escalateAfter = duration;
    terms.escalateTo = namesIn(names);
  }
  return terms;
}

/** The terms with every field set: by themselves, else by `others`, else by the defaults (one of anybody within 24 h). */
export function completeTerms(terms: ApprovalTerms | undefined, others: ApprovalTerms | undefined): ApprovalTerms {
  const { requiredCount = 0, deciders = [] } = terms ?? {};
  const escalating = isSet(terms?.escalateAfter) || terms?.escalateTo.length ? terms : others;
  return create(ApprovalTermsSchema, {
    requiredCount: requiredCount || others?.requiredCount || 1,
    deciders: deciders.length > 0 ? deciders : (others?.deciders ?? []),
    ttl: [terms?.ttl, others?.ttl].find(isSet) ?? durationFromMs(defaultTtlMs),
    escalateTo: escalating?.escalateTo ?? [],
    ...(isSet(escalating?.escalateAfter) ? { escalateAfter: escalating?.escalateAfter } : {}),
  });
}

/**
 * The terms that hold when several rules ask: the most approvals, by anyone whom one of them names, within the shortest
 * time; escalated only where all of them escalate, and after the longest time. All of them must be complete; one at least.
 */
export function strictestTerms(all: readonly ApprovalTerms[]): ApprovalTerms {
  const escalate = all.every(({ escalateAfter }) => isSet(escalateAfter));
  return create(ApprovalTermsSchema, {
    requiredCount: Math.max(...all.map(({ requiredCount }) => requiredCount)),
    deciders: [...new Set(all.flatMap(({ deciders }) => deciders))],
    ttl: durationFromMs(Math.min(...all.map(({ ttl }) => msOf(ttl)))),
    ...(escalate && {
      escalateAfter: durationFromMs(Math.max(...all.map(({ escalateAfter }) => msOf(escalateAfter)))),
      escalateTo: [...new Set(all.flatMap(({ escalateTo }) => escalateTo))],
    }),
  });
}

/** What is wrong with complete terms; undefined when they can be met. */
export function flawInTerms(terms: ApprovalTerms, roles: Roles): string | undefined {
  const { requiredCount, deciders, ttl, escalateAfter, escalateTo } = terms;
  const names = [...deciders, ...escalateTo];
  const odd = names.find((name) => !namePattern.test(name));
  if (odd !== undefined)
    return `names ${JSON.stringify(odd)}; write user:alice, agent:agt_…, service:ci or role:finance`;
  const missing = names.find((name) => name.startsWith("role:") && !roles.has(name.slice("role:".length)));
  if (missing !== undefined) return `names ${missing}, which is none of the policy's roles`;
  if (requiredCount > maxCount) return `asks for ${requiredCount} approvals; ${maxCount} are the most`;
  if (msOf(ttl) < 1_000 || msOf(ttl) > maxMs) return "has a ttl that is not between 1 s and 30 days";
  if (isSet(escalateAfter) !== escalateTo.length > 0) return "escalates without a time, or to nobody; give both";
  if (isSet(escalateAfter) && (msOf(escalateAfter) < 1_000 || msOf(escalateAfter) >= msOf(ttl))) {
    return "escalates too late or at once: let it be 1 s at least, and before the ttl is over";
  }
  const people = membersOf(names, roles);
  if (deciders.length > 0 && people.size < requiredCount) {
    return `asks for ${requiredCount} approvals of ${people.size} who may decide, so it could never be approved`;
  }
  return undefined;
}

/** Those whom names stand for, roles resolved; names of principals stand for themselves. */
function membersOf(names: readonly string[], roles: Roles): Set<string> {
  return new Set(
    names.flatMap((name) => (name.startsWith("role:") ? (roles.get(name.slice("role:".length)) ?? []) : [name])),
  );
}

function namesIn(list: string): string[] {
  return list === "" ? [] : [...new Set(list.split(",").map((name) => name.trim()))];
}

function readDuration(text: string): Duration | undefined {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitMs[unit] ?? 0);
  return ms === 0 ? undefined : durationFromMs(ms);
}

function isSet(duration: Duration | undefined): boolean {
  return msOf(duration) > 0;
}

function msOf(duration: Duration | undefined): number {
  return duration === undefined ? 0 : durationMs(duration);
}
