import { createRouterTransport, type Transport } from "@connectrpc/connect";
import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { ApprovalService } from "../../gen/signalbox/v1/approval_service_pb.ts";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { PolicyService } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { createAgents } from "../agents/agents.ts";
import { agentRoutes } from "../agents/service.ts";
import { approvalRoutes } from "../approvals/service.ts";
import { artifactRoutes } from "../artifacts/service.ts";
import type { Deltas } from "../deltas/deltas.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Feed } from "../eventlog/feed.ts";
import { createEvents } from "../events/events.ts";
import { eventRoutes } from "../events/service.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { createLeaseTokens } from "../jobs/lease-token.ts";
import type { IdSource } from "../kernel/ids.ts";
import { policyRoutes } from "../policy/service.ts";
import { isOpen, runNotFound } from "../runs/decider.ts";
import { createEngine } from "../runs/engine.ts";
import { createEngineCalls } from "../runs/engine-calls.ts";
import { engineRoutes } from "../runs/engine-service.ts";
import { createLeasedRuns } from "../runs/leased-runs.ts";
import { createLiveOutput } from "../runs/live-output.ts";
import { createRunRecord } from "../runs/run-record.ts";
import { createRuns } from "../runs/runs.ts";
import { runRoutes } from "../runs/service.ts";
import type { RunState } from "../runs/state.ts";
import { createStepApprovals } from "../runs/step-approvals.ts";
import { createWork } from "../runs/work.ts";
import { createValidation } from "../server/validation.ts";
import { absentRoutes } from "./absent-services.ts";
import { createMemoryArtifacts } from "./memory-artifacts.ts";
import { listFromLog } from "./memory-events.ts";
import { limits, type MemoryGate, noPositions, noTables } from "./memory-gate.ts";
import { createTestEdge } from "./test-edge.ts";
import { silent } from "./silent-logger.ts";
import type { MemoryLists } from "./memory-lists.ts";
import type { TestClock } from "./test-clock.ts";

/** What the services stand on. */
export interface MemoryServicesDeps {
  readonly log: EventLog;
  readonly feed: Feed;
  readonly aggregates: Aggregates<RunState>;
  readonly lists: MemoryLists;
  readonly jobs: Jobs;
  readonly deltas: Deltas;
  readonly gate: MemoryGate;
  readonly clock: TestClock;
  readonly ids: IdSource;
}

/** Nobody loses a lease in a test by being slow. */
const leaseTtlMs = 24 * 3_600_000;

/**
 * RunService, EngineService, AgentService, EventService, PolicyService, ApprovalService and ArtifactService as production serves them,
 * rules of the contract included, over a transport within the process.
 */
export function openMemoryServices(deps: MemoryServicesDeps): Transport {
  const { log, feed, aggregates, lists, jobs, deltas, clock, ids } = deps;
  const { approvals, alarm, ...policy } = deps.gate;
  const { book, gate } = policy;
  const positions = noPositions;
  const tokens = createLeaseTokens(new Uint8Array(32));
  const record = createRunRecord(log);
  const agents = createAgents({ log, clock, ids, db: noTables, positions });
  const runs = createRuns({ aggregates, feed, lists, positions, ids, limits, findAgent: agents.find });
  const heartbeats = { send: () => {}, listen: () => ({ [Symbol.dispose]: () => {} }) };
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
    gate,
    alarm,
  });
  const work = createWork({ aggregates, record, tokens, limits, gate, approvals, alarm });
  const leased = createLeasedRuns({ aggregates, alarm });
  const stepApprovals = createStepApprovals({ leased, tokens, limits, gate, approvals, alarm });
  const artifacts = createMemoryArtifacts({ log, aggregates, leased, tokens, book, clock, ids });
  const liveOutput = createLiveOutput({ aggregates, tokens, deltas, clock });
  const calls = createEngineCalls({ engine, work, liveOutput, reportWorker: () => Promise.resolve({}) });
  const events = createEvents({
    log,
    feed,
    db: noTables,
    positions,
    deltas,
    runEnd: async (call, runId) => {
      const { state, position } = await aggregates.load(call.workspaceId, runId);
      if (state.status === "absent") throw runNotFound(runId);
      return { position, terminal: !isOpen(state) };
    },
  });
  const draining = new AbortController().signal;
  const services = [
    RunService,
    EngineService,
    AgentService,
    EventService,
    PolicyService,
    ApprovalService,
    ArtifactService,
  ];
  return createRouterTransport(
    (router) => {
      runRoutes(router, runs, draining);
      engineRoutes(router, {
        engine,
        calls,
        listWorkers: () => ({ workers: [], nextPageToken: "" }),
        draining,
        log: silent,
      });
      agentRoutes(router, agents);
      policyRoutes(router, policy);
      approvalRoutes(router, approvals, stepApprovals);
      artifactRoutes(router, artifacts);
      eventRoutes(router, { ...events, list: listFromLog(log, lists) }, draining);
      absentRoutes(router);
    },
    { router: { interceptors: [createTestEdge(ids), createValidation(services)] } },
  );
}
