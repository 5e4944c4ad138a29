import { create } from "@bufbuild/protobuf";
import { durationFromMs, NullValue, ValueSchema } from "@bufbuild/protobuf/wkt";
import { AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { AgentArchivedSchema, AgentCreatedSchema, AgentUpdatedSchema } from "../../gen/signalbox/v1/agent_event_pb.ts";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { ChunkSchema, DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { DocumentAddedSchema, DocumentDeletedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import { QueueUpdatedSchema } from "../../gen/signalbox/v1/queue_event_pb.ts";
import {
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
import { PauseReason, RunEndReason, RunStatus, StepKind, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
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
import { approvalPayloads } from "./approvals.ts";
import { artifactId, artifactPayloads } from "./artifacts.ts";
import { evalPayloads } from "./evals.ts";
import { gatePayloads } from "./gate.ts";
import { incidentPayloads } from "./incidents.ts";
import { policyPayloads } from "./policies.ts";
import { roomPayloads } from "./rooms.ts";
import {
  ada,
  approvalId,
  budget,
  decision,
  digest,
  error,
  lease,
  leaseId,
  messageId,
  otherRunId,
  retryPolicy,
  runId,
  stepId,
  text,
  time,
  toolCallId,
  usage,
} from "./values.ts";

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
    messageId,
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
    approvalId,
  }),
  stepCompleted: create(StepCompletedSchema, { leaseId, stepId, output: text("12 trains"), usage, outputArtifactId: artifactId }),
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
    target: "track 4",
    decision,
    approvalId,
    payloadDigest: "6f1d",
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
      { condition: { case: "approval", value: { approvalId } } },
    ],
  }),
  runWoken: create(RunWokenSchema),
  runChildEnded: create(RunChildEndedSchema, { childRunId: otherRunId, status: RunStatus.FAILED }),
  runMessageReceived: create(RunMessageReceivedSchema, {
    messageId,
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
    outputArtifactId: artifactId,
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
  ...gatePayloads,
  ...roomPayloads,
  ...policyPayloads,
  ...approvalPayloads,
  ...incidentPayloads,
  ...artifactPayloads,
  ...evalPayloads,
};

/** The stream of each noun; what is no noun of its own is of a run. */
const streams: Record<string, string> = {
  agent: "agt_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  queue: "night",
  schedule: "sch_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  session: "sess_1",
  document: "doc_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  room: "room_1",
  thread: "th_1",
  message: messageId,
  cursor: "cur_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  policy: "pol_main",
  kill_switch: "kill_main",
  approval: approvalId,
  incident: "inc_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
  artifact: artifactId,
  artifact_access: "art_01K9YYYYYYYYYYYYYYYYYYYYYY",
  workspace_key: "ws_1",
  suite: "suite_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
};
const inRooms = new Set(["run", "room", "thread", "message", "approval", "incident", "artifact"]);
/** Types that say more than they did, and those that have always had a thread. */
const inThread =
  /^(run\.created|run\.suspended|run\.approval_decided|step\.started|tool_call\.(started|gated|denied)|(thread|message|approval)\..*)$/;

/** One event of each type, as it would be stored: without what only the log can know. */
export const samples: readonly Event[] = Object.entries(payloads).map(([name, value], index) => {
  const payload = { case: name, value } as EventPayload;
  const type = eventTypes[payload.case];
  const [noun = ""] = type.split(".");
  const stream = noun in streams ? { type: noun, id: streams[noun] ?? "" } : { type: "run", id: runId };
  return create(EventSchema, {
    eventId: `00000000-0000-4000-8000-${String(index + 1).padStart(12, "0")}`,
    workspaceId: "ws_1",
    roomId: inRooms.has(stream.type) ? "room_1" : "",
    threadId: inThread.test(type) ? "th_1" : "",
    stream,
    streamSequence: BigInt(index + 1),
    type,
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
