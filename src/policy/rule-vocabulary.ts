import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

/** What `context` has, beside `arguments`, which is there only when the action has a payload. */
export const contextNames = [
  "type",
  "target",
  "effect",
  "reversible",
  "idempotent",
  "zone",
  "room",
  "agent",
  "handler",
  "run",
  "labels",
  "arguments",
] as const;

/** The names of the effects, as `Action::"…"` and `context.effect` have them. */
export const effectNames = ["read", "write", "external_write"] as const;

const entityTypes = ["User", "Agent", "Service", "Role", "Tool", "Action"];
/** Twice this, in levels of the rule's JSON form, is where the engine comes to its end. */
const maxDepth = 200;

interface Place {
  readonly key: string;
  readonly value: unknown;
  readonly depth: number;
}

/**
 * What a rule says that can never be true, or that the engine could not evaluate: a word that the vocabulary does not have
 * would else be an error each time (and so a denial), or a rule that never matches. Undefined when all is well. Pure.
 */
export function flawInWords({ principal, action, resource, conditions }: PolicyJson, roles: ReadonlySet<string>) {
  const open: Place[] = [{ key: "", value: [principal, action, resource, conditions], depth: 0 }];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const { key, value, depth } = place;
    if (depth > maxDepth)
      return "is nested too deeply, or has too long a chain of && or ||; split it into several rules";
    if (typeof value === "string" && key === "entity_type" && !entityTypes.includes(value)) {
      return `names the type ${value}; there are ${entityTypes.join(", ")}`;
    }
    if (typeof value !== "object" || value === null) continue;
    const flaw = key === "__entity" || key === "entity" ? flawInEntity(value, roles) : flawInAccess(key, value);
    if (flaw !== undefined) return flaw;
    for (const [name, child] of Object.entries(value)) {
      open.push({ key: Array.isArray(value) && key === "entities" ? "entity" : name, value: child, depth: depth + 1 });
    }
  }
  return undefined;
}

/** True when a rule may look at `context.arguments`; they are costly to hand over, so others go without. */
export function readsArguments({ conditions }: PolicyJson): boolean {
  return JSON.stringify(conditions).includes('"arguments"');
}

function flawInEntity(entity: object, roles: ReadonlySet<string>): string | undefined {
  if (!("type" in entity && "id" in entity)) return undefined;
  const { type, id } = entity;
  if (typeof type !== "string" || typeof id !== "string") return undefined;
  if (!entityTypes.includes(type))
    return `names ${type}::${JSON.stringify(id)}; the types are ${entityTypes.join(", ")}`;
  if (type === "Action" && !effectNames.some((name) => name === id)) {
    return `names Action::${JSON.stringify(id)}; there are ${effectNames.map((name) => JSON.stringify(name)).join(", ")}`;
  }
  if (type === "Role" && !roles.has(id))
    return `names Role::${JSON.stringify(id)}, which is none of the policy's roles`;
  return undefined;
}

/** `context.zoen`: an access, or a question for it, whose left side is the context itself. */
function flawInAccess(key: string, access: object): string | undefined {
  if ((key !== "." && key !== "has") || !("left" in access && "attr" in access)) return undefined;
  const { left, attr } = access;
  if (typeof left !== "object" || left === null || !("Var" in left) || left.Var !== "context") return undefined;
  const name: unknown = Array.isArray(attr) ? attr[0] : attr;
  if (contextNames.some((known) => known === name)) return undefined;
  return `reads context.${String(name)}; there are ${contextNames.join(", ")}`;
}
