import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Action, Decision, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";

/** What the default rules say to an action. */
export interface DefaultVerdict {
  /** ALLOW or REQUIRE_APPROVAL. */
  readonly decision: Decision;
  /** The rule's name: `default.…`. */
  readonly rule: string;
  readonly message: string;
}

/** What holds where no rule of the workspace matches. The effect must be a known one. Pure. */
export function applyDefaults({ effect, reversible }: Action, zone: Zone): DefaultVerdict {
  if (effect === ToolEffect.READ) return allow("default.read", "it changes nothing");
  if (effect !== ToolEffect.WRITE) return ask("default.external_write", "it changes something outside");
  if (reversible && zone === Zone.SANDBOX) {
    return allow("default.sandbox_write", "it can be undone, and the run is in the sandbox");
  }
  return reversible
    ? ask("default.write", "it changes something, and the run is not in the sandbox")
    : ask("default.irreversible_write", "it changes something and can not be undone");
}

/** How dangerous an action is as far as its effect tells. Pure. */
export function defaultRisk({ effect, reversible }: Action): Risk {
  switch (effect) {
    case ToolEffect.READ:
      return Risk.LOW;
    case ToolEffect.WRITE:
      return reversible ? Risk.LOW : Risk.MEDIUM;
    case ToolEffect.EXTERNAL_WRITE:
      return reversible ? Risk.MEDIUM : Risk.HIGH;
    case ToolEffect.UNSPECIFIED:
    default:
      return Risk.UNKNOWN;
  }
}

function allow(rule: string, message: string): DefaultVerdict {
  return { decision: Decision.ALLOW, rule, message };
}

function ask(rule: string, message: string): DefaultVerdict {
  return { decision: Decision.REQUIRE_APPROVAL, rule, message };
}
