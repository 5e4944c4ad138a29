import { create } from "@bufbuild/protobuf";
import { durationFromMs, NullValue, type Timestamp, timestampFromMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { AgentArchivedSchema, AgentCreatedSchema, AgentUpdatedSchema } from "../../gen/signalbox/v1/agent_event_pb.ts";
import { PrincipalType, UsageSchema, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import {
  LeaseEndSchema,
  RunAttemptFailedSchema,
  RunCanceledSchema,
  RunClaimedSchema,
  RunCreatedSchema,
  RunFailedSchema,
  RunLeaseExpiredSchema,
  RunReleasedSchema,
  RunSucceededSchema,
  StepCompletedSchema,
  StepFailedSchema,
  StepStartedSchema,
  ToolCallFailedSchema,
  ToolCallReconciledSchema,
  ToolCallStartedSchema,
  ToolCallSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { RetryPolicySchema, RunEndReason, RunErrorSchema, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";

const runId = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const leaseId = "lease_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const stepId = "step_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const toolCallId = "tc_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const time = (second: number): Timestamp => timestampFromMs(Date.UTC(2026, 10, 21, 12, 0, second, 345));
const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });
const digest = new Uint8Array(32).map((_, index) => index * 7);

const error = create(RunErrorSchema, { code: "RATE_LIMITED", message: "try again in a minute — später", retryable: true });
const usage = create(UsageSchema, { inputTokens: 1_200n, outputTokens: 340n, costMicros: 5_600n });
const lease = create(LeaseEndSchema, {
  leaseId,
  abandonedStepIds: [stepId],
  failedToolCallIds: ["tc_01K9YYYYYYYYYYYYYYYYYYYYYY"],
  unknownToolCallIds: [toolCallId],
});
const retryPolicy = create(RetryPolicySchema, {
  maxAttempts: 5,
  initialBackoff: durationFromMs(1_500),
  backoffMultiplier: 2.5,
  maxBackoff: durationFromMs(60_000),
  nonRetryableCodes: ["WRONG_INPUT"],
});
const agent = create(AgentSchema, {
  name: "Dispatcher",
  status: AgentStatus.ACTIVE,
  handler: "agent",
  preset: "dispatch",
  model: "any",
  instructions: "Hold trains at red until it is safe.",
  tools: ["points", "signals"],
  zone: Zone.HIGH_STAKES,
  limits: { maxDuration: durationFromMs(3_600_000), retryPolicy },
});

/** One payload of each type, every field set. */
const payloads: { [Case in EventPayload["case"]]: Extract<EventPayload, { case: Case }>["value"] } = {
  runCreated: create(RunCreatedSchema, {
    agentId: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    handler: "agent",
    queue: "default",
    input: create(ValueSchema, {
      kind: {
        case: "structValue",
        value: {
          fields: {
            hello: text("wörld"),
            list: create(ValueSchema, { kind: { case: "listValue", value: { values: [text("a"), text("b")] } } }),
            nothing: create(ValueSchema, { kind: { case: "nullValue", value: NullValue.NULL_VALUE } }),
            number: create(ValueSchema, { kind: { case: "numberValue", value: -1.5 } }),
            yes: create(ValueSchema, { kind: { case: "boolValue", value: true } }),
          },
        },
      },
    }),
    labels: { "10": "ten", team: "signals", "9": "nine" },
    retryPolicy,
    maxDuration: durationFromMs(90_000),
    threadId: "th_1",
    sessionId: "sess_1",
    parentRunId: "run_01K9YYYYYYYYYYYYYYYYYYYYYY",
    requestDigest: digest,
  }),
  runClaimed: create(RunClaimedSchema, {
    attempt: 2,
    leaseId,
    workerId: "worker-1",
    jobId: `${runId}:2`,
    leaseTtl: durationFromMs(30_000),
    lost: lease,
  }),
  runReleased: create(RunReleasedSchema, { lease, reason: "shutting down", availableTime: time(30) }),
  runAttemptFailed: create(RunAttemptFailedSchema, { lease, error, availableTime: time(31) }),
  runLeaseExpired: create(RunLeaseExpiredSchema, { lease }),
  runSucceeded: create(RunSucceededSchema, { lease, output: text("done") }),
  runFailed: create(RunFailedSchema, { lease, error, endReason: RunEndReason.ATTEMPTS_EXHAUSTED }),
  runCanceled: create(RunCanceledSchema, { lease, reason: "not needed any more" }),
  stepStarted: create(StepStartedSchema, { leaseId, stepId, key: "fetch", name: "Fetch the timetable", input: text("line 4") }),
  stepCompleted: create(StepCompletedSchema, { leaseId, stepId, output: text("12 trains"), usage }),
  stepFailed: create(StepFailedSchema, { leaseId, stepId, error, usage }),
  toolCallStarted: create(ToolCallStartedSchema, {
    leaseId,
    toolCallId,
    key: "switch",
    stepId,
    tool: "points",
    effect: ToolEffect.EXTERNAL_WRITE,
    idempotent: true,
    arguments: text("left"),
  }),
  toolCallSucceeded: create(ToolCallSucceededSchema, { leaseId, toolCallId, result: text("locked"), usage }),
  toolCallFailed: create(ToolCallFailedSchema, { leaseId, toolCallId, error, usage }),
  toolCallReconciled: create(ToolCallReconciledSchema, { leaseId, toolCallId, result: text("locked"), note: "seen on site" }),
  agentCreated: create(AgentCreatedSchema, { agent, requestDigest: digest }),
  agentUpdated: create(AgentUpdatedSchema, { agent }),
  agentArchived: create(AgentArchivedSchema),
};

/** One event of each type, as it would be stored: without what only the log can know. */
export const samples: readonly Event[] = Object.entries(payloads).map(([name, value], index) => {
  const payload = { case: name, value } as EventPayload;
  const ofAgent = name.startsWith("agent");
  return create(EventSchema, {
    eventId: `00000000-0000-4000-8000-${String(index + 1).padStart(12, "0")}`,
    workspaceId: "ws_1",
    roomId: ofAgent ? "" : "room_1",
    stream: ofAgent ? { type: "agent", id: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ" } : { type: "run", id: runId },
    streamSequence: BigInt(index + 1),
    type: eventTypes[payload.case],
    actor: {
      type: PrincipalType.AGENT,
      id: "dispatcher",
      onBehalfOf: [{ type: PrincipalType.USER, id: "ada@example.com" }],
    },
    zone: Zone.SUPERVISED,
    correlationId: "corr_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    causationId: "00000000-0000-4000-8000-000000000000",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    createTime: time(index),
    payload,
  });
});
