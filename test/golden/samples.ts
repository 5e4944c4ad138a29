import { create } from "@bufbuild/protobuf";
import { durationFromMs, NullValue, type Timestamp, timestampFromMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { AgentArchivedSchema, AgentCreatedSchema, AgentUpdatedSchema } from "../../gen/signalbox/v1/agent_event_pb.ts";
import { PrincipalSchema, PrincipalType, UsageSchema, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { ChunkSchema, DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { DocumentAddedSchema, DocumentDeletedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import { QueueUpdatedSchema } from "../../gen/signalbox/v1/queue_event_pb.ts";
import {
  LeaseEndSchema,
  RunAttemptFailedSchema,
  RunCanceledSchema,
  RunChildEndedSchema,
  RunClaimedSchema,
  RunCreatedSchema,
  RunFailedSchema,
  RunLeaseExpiredSchema,
  RunMessageReceivedSchema,
  RunPausedSchema,
  RunPauseRequestedSchema,
  RunReleasedSchema,
  RunResumedSchema,
  RunSucceededSchema,
  RunSuspendedSchema,
  RunWokenSchema,
  StepCompletedSchema,
  StepFailedSchema,
  StepReusedSchema,
  StepStartedSchema,
  ToolCallFailedSchema,
  ToolCallReconciledSchema,
  ToolCallReusedSchema,
  ToolCallStartedSchema,
  ToolCallSucceededSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  BudgetSchema,
  OnExhausted,
  PauseReason,
  RetryPolicySchema,
  RunEndReason,
  RunErrorSchema,
  RunStatus,
  StepKind,
  ToolEffect,
} from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { CatchUp, ScheduleSchema, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import {
  ScheduleArchivedSchema,
  ScheduleCreatedSchema,
  ScheduleFiredSchema,
  ScheduleUpdatedSchema,
} from "../../gen/signalbox/v1/schedule_event_pb.ts";
import { SessionCompactedSchema } from "../../gen/signalbox/v1/session_event_pb.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";

const runId = "run_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const leaseId = "lease_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const stepId = "step_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const toolCallId = "tc_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const otherRunId = "run_01K9YYYYYYYYYYYYYYYYYYYYYY";
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
  onExhausted: OnExhausted.PAUSE,
});
const budget = create(BudgetSchema, {
  maxTokens: 100_000n,
  maxCostMicros: 2_000_000n,
  maxSteps: 200n,
  maxToolCalls: 50n,
  maxActiveTime: durationFromMs(600_000),
});
const ada = create(PrincipalSchema, {
  type: PrincipalType.USER,
  id: "ada@example.com",
  onBehalfOf: [{ type: PrincipalType.SERVICE, id: "console" }],
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
  limits: { maxDuration: durationFromMs(3_600_000), retryPolicy, budget, maxRunning: 4, maxTurns: 16 },
  memory: { sessionHistory: true, compactAfterTokens: 8_000, keepTurns: 6 },
  inputSchema: { type: "string" },
  outputSchema: { type: "object", required: ["track"] },
});
const schedule = create(ScheduleSchema, {
  name: "Night inspection",
  status: ScheduleStatus.ACTIVE,
  cron: "0 3 * * *",
  timeZone: "Europe/Vienna",
  catchUp: CatchUp.LATEST,
  run: create(CreateRunRequestSchema, { handler: "inspect", queue: "night" }),
  nextTime: time(40),
});

/** One payload of each type, every field set. Their order gives times and ids: a new type comes last. */
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
    parentRunId: otherRunId,
    requestDigest: digest,
    priority: 7,
    concurrencyKey: "customer-4",
    budget,
    depth: 3,
    baseRunId: otherRunId,
    basePosition: 4_711n,
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
  stepStarted: create(StepStartedSchema, {
    leaseId,
    stepId,
    key: "fetch",
    name: "Fetch the timetable",
    input: text("line 4"),
    kind: StepKind.SLEEP,
    sequence: 12,
    wakeTime: time(50),
    childRunId: otherRunId,
    threadId: "th_1",
  }),
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
    sequence: 13,
    version: "2.1.0",
    reversible: true,
  }),
  toolCallSucceeded: create(ToolCallSucceededSchema, { leaseId, toolCallId, result: text("locked"), usage }),
  toolCallFailed: create(ToolCallFailedSchema, { leaseId, toolCallId, error, usage }),
  toolCallReconciled: create(ToolCallReconciledSchema, { leaseId, toolCallId, result: text("locked"), note: "seen on site" }),
  agentCreated: create(AgentCreatedSchema, { agent, requestDigest: digest }),
  agentUpdated: create(AgentUpdatedSchema, { agent }),
  agentArchived: create(AgentArchivedSchema),
  runSuspended: create(RunSuspendedSchema, {
    lease,
    conditions: [
      { condition: { case: "time", value: time(45) } },
      { condition: { case: "children", value: { runIds: [otherRunId] } } },
      { condition: { case: "message", value: { threadId: "th_1", afterNumber: 2 } } },
    ],
  }),
  runWoken: create(RunWokenSchema),
  runChildEnded: create(RunChildEndedSchema, { childRunId: otherRunId, status: RunStatus.FAILED }),
  runMessageReceived: create(RunMessageReceivedSchema, {
    messageId: "msg_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    threadId: "th_1",
    number: 3,
    content: text("go on"),
    requestDigest: digest,
  }),
  runPauseRequested: create(RunPauseRequestedSchema, { note: "track works" }),
  runPaused: create(RunPausedSchema, {
    lease,
    reason: PauseReason.ATTEMPTS_EXHAUSTED,
    note: "track works",
    error,
    pauseBy: ada,
  }),
  runResumed: create(RunResumedSchema, { note: "line is clear", budget }),
  stepReused: create(StepReusedSchema, {
    leaseId,
    stepId,
    key: "fetch",
    name: "Fetch the timetable",
    kind: StepKind.MODEL,
    sequence: 12,
    output: text("12 trains"),
    runId: otherRunId,
  }),
  toolCallReused: create(ToolCallReusedSchema, {
    leaseId,
    toolCallId,
    key: "switch",
    tool: "points",
    version: "2.1.0",
    effect: ToolEffect.EXTERNAL_WRITE,
    idempotent: true,
    reversible: true,
    sequence: 13,
    arguments: text("left"),
    result: text("locked"),
    runId: otherRunId,
  }),
  queueUpdated: create(QueueUpdatedSchema, {
    queue: create(QueueSchema, {
      name: "night",
      held: true,
      maxRunning: 8,
      maxRunningPerKey: 2,
      rateLimit: { runs: 100, period: durationFromMs(60_000) },
    }),
  }),
  scheduleCreated: create(ScheduleCreatedSchema, { schedule, requestDigest: digest }),
  scheduleUpdated: create(ScheduleUpdatedSchema, { schedule }),
  scheduleFired: create(ScheduleFiredSchema, {
    time: time(40),
    runId: otherRunId,
    error: "agent is archived",
    skipped: 2,
    nextTime: time(50),
  }),
  scheduleArchived: create(ScheduleArchivedSchema),
  sessionCompacted: create(SessionCompactedSchema, {
    summary: "Ada asked for the night timetable.",
    throughRunId: otherRunId,
    turnCount: 5,
  }),
  documentAdded: create(DocumentAddedSchema, {
    document: create(DocumentSchema, {
      documentId: "doc_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
      collection: "rules",
      title: "Rule book",
      text: "Hold trains at red until it is safe.",
      metadata: { edition: "4" },
      sizeBytes: 36n,
      chunkCount: 1,
      embeddingModel: "local-384",
    }),
    chunks: [create(ChunkSchema, { start: 0, end: 36, embedding: new Uint8Array([0, 0, 128, 63]) })],
    requestDigest: digest,
  }),
  documentDeleted: create(DocumentDeletedSchema),
};

/** The stream of each noun. */
const streams: Record<string, string> = {
  agent: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  queue: "night",
  schedule: "sch_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  session: "sess_1",
  document: "doc_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
};

/** One event of each type, as it would be stored: without what only the log can know. */
export const samples: readonly Event[] = Object.entries(payloads).map(([name, value], index) => {
  const payload = { case: name, value } as EventPayload;
  const [noun] = Object.keys(streams).filter((type) => name.startsWith(type));
  return create(EventSchema, {
    eventId: `00000000-0000-4000-8000-${String(index + 1).padStart(12, "0")}`,
    workspaceId: "ws_1",
    roomId: noun === undefined ? "room_1" : "",
    stream: noun === undefined ? { type: "run", id: runId } : { type: noun, id: streams[noun] ?? "" },
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
