import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { ApprovalService } from "../../gen/signalbox/v1/approval_service_pb.ts";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { DocumentService } from "../../gen/signalbox/v1/document_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EvalService } from "../../gen/signalbox/v1/eval_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { IncidentService } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { PipelineService } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PolicyService } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { QueueService } from "../../gen/signalbox/v1/queue_service_pb.ts";
import { RoomService } from "../../gen/signalbox/v1/room_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { ScheduleService } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { SessionService } from "../../gen/signalbox/v1/session_service_pb.ts";
import { createAgents } from "../agents/agents.ts";
import { agentRoutes } from "../agents/service.ts";
import type { Approvals } from "../approvals/approvals.ts";
import { approvalRoutes } from "../approvals/service.ts";
import { artifactRoutes } from "../artifacts/service.ts";
import type { Deltas } from "../deltas/deltas.ts";
import { createDocuments } from "../documents/documents.ts";
import { createHttpEmbedder } from "../documents/http-embedder.ts";
import { localEmbedder } from "../documents/local-embedder.ts";
import { documentRoutes } from "../documents/service.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Feed } from "../eventlog/feed.ts";
import { type EvalParts, evalRoutes } from "../evals/service.ts";
import { createEvents } from "../events/events.ts";
import { eventRoutes } from "../events/service.ts";
import type { OpenAlarm } from "../incidents/alarm.ts";
import type { Incidents } from "../incidents/incidents.ts";
import { incidentRoutes } from "../incidents/service.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { createLeaseTokens } from "../jobs/lease-token.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import { createPipeline } from "../pipeline/pipeline.ts";
import { pipelineRoutes } from "../pipeline/service.ts";
import { policyRoutes } from "../policy/service.ts";
import { createQueues } from "../queues/queues.ts";
import { queueRoutes } from "../queues/service.ts";
import type { Positions } from "../readmodel/positions.ts";
import { roomRoutes, type RoomParts } from "../rooms/service.ts";
import { isOpen, runNotFound } from "../runs/decider.ts";
import { createEngine } from "../runs/engine.ts";
import { createEngineCalls } from "../runs/engine-calls.ts";
import { engineRoutes } from "../runs/engine-service.ts";
import { createLeasedRuns } from "../runs/leased-runs.ts";
import { createLiveOutput } from "../runs/live-output.ts";
import { queueInUse, queuesInUse } from "../runs/queue-queries.ts";
import { createRunLists } from "../runs/queries.ts";
import { createRunRecord } from "../runs/run-record.ts";
import { createRuns } from "../runs/runs.ts";
import { runRoutes } from "../runs/service.ts";
import type { RunState } from "../runs/state.ts";
import { createStepApprovals } from "../runs/step-approvals.ts";
import { createWork } from "../runs/work.ts";
import type { Schedules } from "../schedules/schedules.ts";
import { scheduleRoutes } from "../schedules/service.ts";
import { sessionRoutes } from "../sessions/service.ts";
import { createSessions } from "../sessions/sessions.ts";
import type { Registry } from "../workers/registry.ts";
import { createWorkers } from "../workers/workers.ts";
import { openServer, type Server } from "../server/server.ts";
import type { ServedArtifacts } from "./artifacts.ts";
import { createMetrics } from "./metrics.ts";
import type { PolicyParts } from "./policy.ts";
import type { ServeOptions } from "./serve.ts";
import type { Stores } from "./stores.ts";

/** The services on the port. */
const services = [
  RunService,
  EventService,
  EngineService,
  AgentService,
  QueueService,
  ScheduleService,
  SessionService,
  DocumentService,
  IncidentService,
  PipelineService,
  RoomService,
  PolicyService,
  ApprovalService,
  ArtifactService,
  EvalService,
];

/** The largest request message. The broker takes more, so what comes in can always be stored and read back. */
const maxRequestBytes = 4 * 1024 * 1024;
/** The largest payload of an event: what gRPC clients receive by default, less what surrounds it. */
const maxEventBytes = 4 * 1024 * 1024 - 64 * 1024;

/** What a process shares between its roles. */
export interface Parts extends Stores {
  readonly feed: Feed;
  readonly positions: Positions;
  readonly jobs: Jobs;
  readonly aggregates: Aggregates<RunState>;
  readonly heartbeats: Heartbeats;
  readonly schedules: Schedules;
  readonly rooms: RoomParts;
  readonly policy: PolicyParts;
  readonly approvals: Approvals;
  readonly deltas: Deltas;
  readonly registry: Registry;
  readonly incidents: Incidents;
  readonly alarm: OpenAlarm;
  readonly artifacts: ServedArtifacts;
  readonly evals: EvalParts;
}

/** Opens the server with every service on it. */
export function openApi(options: ServeOptions, parts: Parts): Promise<Server> {
  const { limits, leaseTtlMs, heartbeatMs } = options;
  const { aggregates, feed, positions, jobs, heartbeats, deltas, registry, log } = parts;
  const { db } = parts.postgres;
  const tokens = createLeaseTokens(options.secret);
  const record = createRunRecord(log);
  const agents = createAgents({ log, clock, ids, db, positions });
  const queues = createQueues({
    log,
    clock,
    ids,
    db,
    positions,
    countRuns: queuesInUse,
    countRunsOf: queueInUse,
  });
  const runs = createRuns({
    aggregates,
    feed,
    lists: createRunLists(db),
    positions,
    ids,
    limits,
    findAgent: agents.find,
  });
  const { alarm, approvals } = parts;
  const { gate } = parts.policy;
  const engine = createEngine({
    aggregates,
    record,
    jobs,
    tokens,
    clock,
    ids,
    limits,
    leaseTtlMs,
    heartbeats,
    alarm,
    gate,
  });
  const work = createWork({
    aggregates,
    record,
    tokens,
    limits,
    alarm,
    gate,
    approvals,
    isReadable: parts.artifacts.isReadable,
  });
  const leased = createLeasedRuns({ aggregates, alarm });
  const stepApprovals = createStepApprovals({ leased, tokens, limits, gate, approvals, alarm });
  const liveOutput = createLiveOutput({ aggregates, tokens, deltas, clock });
  const workers = createWorkers({ registry, clock });
  const calls = createEngineCalls({ engine, work, liveOutput, reportWorker: workers.report });
  const events = createEvents({
    log,
    feed,
    db,
    positions,
    deltas,
    ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
    runEnd: async ({ workspaceId }, runId) => {
      const { state, position } = await aggregates.load(workspaceId, runId);
      if (state.status === "absent") throw runNotFound(runId);
      return { position, terminal: !isOpen(state) };
    },
  });
  const documents = createDocuments({
    log,
    clock,
    ids,
    db,
    positions,
    embedder: options.embeddings === undefined ? localEmbedder : createHttpEmbedder(options.embeddings),
    maxTextBytes: limits.maxInputBytes,
    maxEventBytes: Math.min(maxEventBytes, Math.floor((parts.nats.connection.info?.max_payload ?? 0) * 0.75)),
  });
  const draining = new AbortController();
  const { host, port, auth, allowedOrigins, reflection, drainTimeoutMs } = options;
  return openServer({
    host,
    port,
    auth,
    allowedOrigins,
    reflection,
    drainTimeoutMs,
    log: options.log,
    services,
    draining,
    maxRequestBytes,
    metrics: createMetrics(feed, positions),
    downloads: parts.artifacts.downloads,
    publicUrl: options.artifacts.publicUrl,
    readiness: () => readiness(parts),
    routes: (router) => {
      runRoutes(router, runs, draining.signal);
      const { signal } = draining;
      engineRoutes(router, { engine, calls, listWorkers: workers.list, draining: signal, log: options.log });
      eventRoutes(router, events, draining.signal);
      agentRoutes(router, agents);
      queueRoutes(router, queues);
      documentRoutes(router, documents);
      scheduleRoutes(router, parts.schedules);
      roomRoutes(router, parts.rooms);
      policyRoutes(router, parts.policy);
      approvalRoutes(router, approvals, stepApprovals);
      sessionRoutes(router, createSessions({ log, clock, ids, db, positions }));
      incidentRoutes(router, parts.incidents);
      artifactRoutes(router, parts.artifacts);
      evalRoutes(router, parts.evals);
      pipelineRoutes(router, createPipeline({ postgres: parts.postgres, positions, clock }));
    },
  });
}

async function readiness({ log, postgres }: Stores): Promise<Record<string, string>> {
  const ask = async (check: () => Promise<unknown>) => {
    try {
      await check();
      return "ok";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  const [eventLog, readModel] = await Promise.all([
    // A full disk still answers reads: what the last write met counts too.
    log.trouble() ?? ask(() => log.bounds()),
    ask(() => postgres.db.query({ name: "ready", text: "select position from checkpoints where name = 'projector'" })),
  ]);
  return { event_log: eventLog, read_model: readModel };
}
