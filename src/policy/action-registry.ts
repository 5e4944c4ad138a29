import { create } from "@bufbuild/protobuf";
import { type Action, ActionSchema, type RegisteredAction } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** What is known of actions. */
export interface ActionRegistry {
  /** What is known of an action of that type: by its name, else by the longest beginning; undefined when nothing is. */
  find(type: string): RegisteredAction | undefined;
}

/** The registry with these entries. INVALID_REQUEST when two are for the same type, or a `*` stands inside. */
export function createActionRegistry(actions: readonly RegisteredAction[]): ActionRegistry {
  const byName = new Map<string, RegisteredAction>();
  for (const action of actions) {
    const { type } = action;
    if (type.slice(0, -1).includes("*")) throw invalid(type, "has a `*` that is not at the end");
    if (byName.has(type)) throw invalid(type, "stands twice; leave one of them");
    byName.set(type, action);
  }
  const beginnings = actions
    .filter(({ type }) => type.endsWith("*"))
    .map((action) => ({ action, beginning: action.type.slice(0, -1) }))
    .toSorted((a, b) => b.beginning.length - a.beginning.length);
  return {
    find: (type) => byName.get(type) ?? beginnings.find(({ beginning }) => type.startsWith(beginning))?.action,
  };
}

/** True for the effects that there are: what a worker of another version calls its effect is not known here. */
export function isKnownEffect(effect: ToolEffect): boolean {
  switch (effect) {
    case ToolEffect.READ:
    case ToolEffect.WRITE:
    case ToolEffect.EXTERNAL_WRITE:
      return true;
    case ToolEffect.UNSPECIFIED:
    default:
      return false;
  }
}

/** The action as it is to be judged: with the larger effect of claim and registry, reversible only where both say so. */
export function correctAction(claim: Action, known: RegisteredAction | undefined): Action {
  if (known === undefined || !isKnownEffect(claim.effect)) return claim;
  return create(ActionSchema, {
    ...claim,
    effect: claim.effect > known.effect ? claim.effect : known.effect,
    reversible: claim.reversible && known.reversible,
  });
}

function invalid(type: string, problem: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", `policy.actions: ${JSON.stringify(type)} ${problem}`);
}
