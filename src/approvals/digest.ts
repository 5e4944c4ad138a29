import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Action } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect, ToolEffectSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { canonicalJson } from "../kernel/canonical-json.ts";
import { sha256 } from "../kernel/digest.ts";
import { enumName } from "../kernel/enum-name.ts";

/** Everything that an approval is bound to. */
export interface Binding {
  readonly workspaceId: string;
  readonly runId: string;
  readonly toolCallId: string;
  readonly stepId: string;
  readonly action?: Action | undefined;
  readonly policyHash: string;
  readonly payload?: Value | undefined;
}

/** Keeps these digests apart from those of anything else. */
const domain = "signalbox.approval.v1";

/**
 * SHA-256, in hex, of what is to be done with what, by whom and under which policy, as canonical JSON (RFC 8785). Throws for
 * a payload that has no JSON; `requireStorable` refuses those.
 */
export function payloadDigest(binding: Binding): string {
  return Buffer.from(sha256(Buffer.from(canonicalJson(boundTo(binding))))).toString("hex");
}

function boundTo({ workspaceId, runId, toolCallId, stepId, action, policyHash, payload }: Binding): JsonObject {
  return {
    domain,
    workspace_id: workspaceId,
    run_id: runId,
    tool_call_id: toolCallId,
    step_id: stepId,
    action: {
      type: action?.type ?? "",
      target: action?.target ?? "",
      effect: `TOOL_EFFECT_${enumName(ToolEffectSchema, action?.effect ?? ToolEffect.UNSPECIFIED)}`,
      reversible: action?.reversible ?? false,
      idempotent: action?.idempotent ?? false,
    },
    policy_hash: policyHash,
    payload: jsonOf(payload),
  };
}

function jsonOf(payload: Value | undefined): JsonValue {
  return payload === undefined ? null : toJson(ValueSchema, payload);
}
