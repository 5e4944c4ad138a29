import { create, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { StartToolCallRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  type Action,
  ActionSchema,
  type PolicyContext,
  PolicyContextSchema,
  type PolicyDecision,
  PolicyDecisionSchema,
} from "../../gen/signalbox/v1/policy_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { canonicalJson } from "../kernel/canonical-json.ts";
import { sha256 } from "../kernel/digest.ts";
import { requesterOf } from "./acting.ts";
import { killSwitchOn } from "./stops.ts";

/** The action that a tool call is, as its worker describes it. Pure. */
export function actionOf({ tool, target, effect, reversible, idempotent }: StartToolCallRequest): Action {
  return create(ActionSchema, { type: tool, target, effect, reversible, idempotent });
}

/** What a decision about an action of a run rests on. Pure. */
export function contextOf(run: Run, action: Action, payload: Value | undefined): PolicyContext {
  const { zone, agentId, handler, roomId, runId, labels } = run;
  const principal = requesterOf(run);
  return create(PolicyContextSchema, { action, payload, principal, zone, agentId, handler, roomId, runId, labels });
}

/** The decision as it stands beside the payload that it was made about. Pure. */
export function withoutPayload(decision: PolicyDecision): PolicyDecision {
  if (decision.context?.payload === undefined) return decision;
  const { payload: _payload, ...context } = decision.context;
  return create(PolicyDecisionSchema, { ...decision, context: create(PolicyContextSchema, context) });
}

/** True when it was a kill switch that said no. Pure. */
export function isKill({ reasonCodes }: PolicyDecision): boolean {
  return reasonCodes.includes(killSwitchOn);
}

/** SHA-256, in hex, of the arguments' canonical JSON (RFC 8785); unset ones count as null. Pure. */
export function argumentsDigestOf(value: Value | undefined): string {
  const json = value === undefined ? null : toJson(ValueSchema, value);
  return Buffer.from(sha256(Buffer.from(canonicalJson(json)))).toString("hex");
}
