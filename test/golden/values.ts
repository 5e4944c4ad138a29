import { create } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp, timestampFromMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { PrincipalSchema, PrincipalType, UsageSchema, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision, PolicyDecisionSchema, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { LeaseEndSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { BudgetSchema, OnExhausted, RetryPolicySchema, RunErrorSchema, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";

/** The run of the samples. */
export const runId = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

/** Its lease. */
/** The end of a lease that left something of each kind behind. */
export const leaseId = "lease_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

/** Its step. */
export const stepId = "step_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

/** Its tool call. */
export const toolCallId = "tc_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

/** Another run. */
export const otherRunId = "run_01K9YYYYYYYYYYYYYYYYYYYYYY";

/** A moment, so many seconds after the first. */
export const time = (second: number): Timestamp => timestampFromMs(Date.UTC(2026, 10, 21, 12, 0, second, 345));

/** A JSON string. */
export const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });

/** 32 bytes. */
export const digest = new Uint8Array(32).map((_, index) => index * 7);

/** A failure. */
export const error = create(RunErrorSchema, { code: "RATE_LIMITED", message: "try again in a minute — später", retryable: true });

/** What work has consumed. */
export const usage = create(UsageSchema, { inputTokens: 1_200n, outputTokens: 340n, costMicros: 5_600n });
export const lease = create(LeaseEndSchema, {
  leaseId,
  abandonedStepIds: [stepId],
  failedToolCallIds: ["tc_01K9YYYYYYYYYYYYYYYYYYYYYY"],
  unknownToolCallIds: [toolCallId],
});

/** A retry policy. */
export const retryPolicy = create(RetryPolicySchema, {
  maxAttempts: 5,
  initialBackoff: durationFromMs(1_500),
  backoffMultiplier: 2.5,
  maxBackoff: durationFromMs(60_000),
  nonRetryableCodes: ["WRONG_INPUT"],
  onExhausted: OnExhausted.PAUSE,
});

/** A budget. */
export const budget = create(BudgetSchema, {
  maxTokens: 100_000n,
  maxCostMicros: 2_000_000n,
  maxSteps: 200n,
  maxToolCalls: 50n,
  maxActiveTime: durationFromMs(600_000),
});

/** A person, by way of a program. */
export const ada = create(PrincipalSchema, {
  type: PrincipalType.USER,
  id: "ada@example.com",
  onBehalfOf: [{ type: PrincipalType.SERVICE, id: "console" }],
});

/** What a policy has said, as events keep it: the payload stands beside it. */
export const decision = create(PolicyDecisionSchema, {
  decision: Decision.REQUIRE_APPROVAL,
  reasonCodes: ["EXTERNAL_WRITE"],
  matchedRule: "default.external_write",
  policyVersion: 3n,
  policyHash: "6f1d",
  risk: Risk.HIGH,
  message: "Points are moved only when two have looked.",
  terms: {
    requiredCount: 2,
    deciders: ["role:dispatchers", "user:bob"],
    ttl: durationFromMs(3_600_000),
    escalateAfter: durationFromMs(1_800_000),
    escalateTo: ["role:leads"],
  },
  action: { type: "points", target: "track 4", effect: ToolEffect.EXTERNAL_WRITE, reversible: true, idempotent: true },
  context: {
    action: { type: "points", target: "track 4", effect: ToolEffect.WRITE, reversible: true, idempotent: true },
    principal: ada,
    zone: Zone.SUPERVISED,
    agentId: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    handler: "agent",
    roomId: "room_1",
    runId,
    labels: { team: "signals" },
    externalWritesStopped: true,
  },
  killEpoch: 4_700n,
});

/** The approval of the samples. */
export const approvalId = "appr_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

/** A message of the samples. */
export const messageId = "msg_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
