import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { jsonValue } from "../../src/client/json.ts";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type PolicyContext, PolicyContextSchema, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { createCedar } from "../../src/policy/cedar.ts";
import { type CompiledPolicy, compilePolicy } from "../../src/policy/compiled-policy.ts";

/** One engine for a test file: loading one takes a while. */
export const cedar = createCedar();

/** A policy, ready to judge; one that consists of rules may be given as their text. */
export function policyOf(policy: string | MessageInitShape<typeof PolicySchema>): CompiledPolicy {
  return compilePolicy(create(PolicySchema, typeof policy === "string" ? { cedar: policy } : policy), cedar);
}

/** What a test says of an action; the rest is an irreversible external write of an agent in the sandbox. */
export interface Act {
  readonly type?: string;
  readonly target?: string;
  readonly effect?: ToolEffect;
  readonly reversible?: boolean;
  readonly idempotent?: boolean;
  readonly zone?: Zone;
  readonly payload?: JsonObject;
  readonly principal?: PolicyContext["principal"];
  readonly labels?: Record<string, string>;
  readonly stopped?: boolean;
}

/** The context of an action. */
export function contextOf(act: Act = {}): PolicyContext {
  const { type = "mail.send", target = "", effect = ToolEffect.EXTERNAL_WRITE, reversible, idempotent, payload } = act;
  return create(PolicyContextSchema, {
    action: { type, target, effect, reversible: reversible ?? false, idempotent: idempotent ?? false },
    principal: act.principal ?? { type: PrincipalType.AGENT, id: "agt_a" },
    zone: act.zone ?? Zone.SANDBOX,
    agentId: "agt_a",
    handler: "agent",
    roomId: "room_a",
    runId: "run_a",
    labels: act.labels ?? {},
    externalWritesStopped: act.stopped ?? false,
    ...(payload === undefined ? {} : { payload: jsonValue(payload) }),
  });
}
