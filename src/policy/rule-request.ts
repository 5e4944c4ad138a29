import type { CedarValueJson, EntityJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";
import type { Value } from "@bufbuild/protobuf/wkt";
import { type Principal, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Action, PolicyContext } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { principalName } from "../kernel/principal.ts";
import type { effectNames, contextNames } from "./rule-vocabulary.ts";
import type { Roles } from "./terms.ts";

/** What a policy's rules are asked: who, what, on what, and under which circumstances. */
export interface RuleRequest {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Record<string, CedarValueJson>;
  readonly entities: EntityJson[];
}

type EffectName = (typeof effectNames)[number];

const effects: Readonly<Record<number, EffectName | undefined>> = {
  [ToolEffect.READ]: "read",
  [ToolEffect.WRITE]: "write",
  [ToolEffect.EXTERNAL_WRITE]: "external_write",
};
const zones: Readonly<Record<number, string | undefined>> = {
  [Zone.SANDBOX]: "sandbox",
  [Zone.SUPERVISED]: "supervised",
  [Zone.HIGH_STAKES]: "high_stakes",
};
const principalTypes: Readonly<Record<number, string | undefined>> = {
  [PrincipalType.USER]: "User",
  [PrincipalType.AGENT]: "Agent",
  [PrincipalType.SERVICE]: "Service",
};
/** Cedar writes decimals with up to four places, between these. */
const maxDecimal = 922_337_203_685_477;

/** The words of the vocabulary for an action as it is judged. Its effect must be a known one. Pure. */
export function ruleRequest(context: PolicyContext, action: Action, roles: Roles, withArguments: boolean): RuleRequest {
  const { type, target, reversible, idempotent } = action;
  const effect = effects[action.effect] ?? "external_write";
  const principal = entityOf(context.principal);
  const payload = withArguments && context.payload !== undefined ? toCedar(context.payload) : undefined;
  const words: Record<Exclude<(typeof contextNames)[number], "arguments">, CedarValueJson> = {
    type,
    target,
    effect,
    reversible,
    idempotent,
    zone: zones[context.zone] ?? "unknown",
    room: context.roomId,
    agent: context.agentId,
    handler: context.handler,
    run: context.runId,
    labels: recordOf(Object.entries(context.labels)),
  };
  return {
    principal,
    action: { type: "Action", id: effect },
    resource: { type: "Tool", id: type },
    context: payload === undefined ? words : { ...words, arguments: payload },
    entities: [{ uid: principal, attrs: {}, parents: parentsOf(context.principal, roles) }],
  };
}

/** Those on whose behalf a principal acts, and the roles of all of them: what `principal in …` asks for. */
function parentsOf(principal: Principal | undefined, roles: Roles): TypeAndId[] {
  if (principal === undefined) return [];
  const own = entityOf(principal);
  const chain = [principal, ...principal.onBehalfOf];
  const names = new Set(chain.map(principalName));
  const held = [...roles].filter(([, members]) => members.some((member) => names.has(member)));
  return [
    ...chain.map(entityOf).filter(({ type, id }) => type !== own.type || id !== own.id),
    ...held.map(([id]) => ({ type: "Role", id })),
  ];
}

function entityOf(principal: Pick<Principal, "type" | "id"> | undefined): TypeAndId {
  return { type: principalTypes[principal?.type ?? 0] ?? "Service", id: principal?.id ?? "" };
}

/**
 * A JSON value as Cedar has it. Cedar knows no null: such members are left out. A number that is no integer comes as a
 * decimal with four places, one that is too large even for that as its text: a rule that compares it with an integer fails,
 * which denies, where a value that is left out would pass for one that is not there.
 */
function toCedar({ kind }: Value): CedarValueJson | undefined {
  switch (kind.case) {
    case "boolValue":
    case "stringValue":
      return kind.value;
    case "numberValue":
      return numberOf(kind.value);
    case "listValue":
      return kind.value.values.map(toCedar).filter((item) => item !== undefined);
    case "structValue":
      return recordOf(Object.entries(kind.value.fields).map(([name, value]) => [name, toCedar(value)]));
    case "nullValue":
    case undefined:
      return undefined;
  }
}

function numberOf(value: number): CedarValueJson {
  if (Number.isSafeInteger(value)) return value;
  if (Math.abs(value) < maxDecimal) return { __extn: { fn: "decimal", arg: value.toFixed(4) } };
  return String(value);
}

/** Without the names by which Cedar's JSON says that something is no record: a payload does not get to say that. */
function recordOf(entries: readonly (readonly [string, CedarValueJson | undefined])[]): Record<string, CedarValueJson> {
  return Object.fromEntries(
    entries.flatMap(([name, value]) =>
      value === undefined || name === "__entity" || name === "__extn" || name === "__expr" ? [] : [[name, value]],
    ),
  );
}
