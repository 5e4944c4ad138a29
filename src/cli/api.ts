import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { createAgents } from "../agents/agents.ts";
import { agentRoutes } from "../agents/service.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Feed } from "../eventlog/feed.ts";
import { createEvents } from "../events/events.ts";
import { eventRoutes } from "../events/service.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { createLeaseTokens } from "../jobs/lease-token.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Positions } from "../readmodel/positions.ts";
import { isOpen, runNotFound } from "../runs/decider.ts";
import { createEngine } from "../runs/engine.ts";
import { engineRoutes } from "../runs/engine-service.ts";
import { createRunRecord } from "../runs/run-record.ts";
import { createRuns } from "../runs/runs.ts";
import { runRoutes } from "../runs/service.ts";
import type { RunState } from "../runs/state.ts";
import { createWork } from "../runs/work.ts";
import { openServer, type Server } from "../server/server.ts";
import { createMetrics } from "./metrics.ts";
import type { ServeOptions } from "./serve.ts";
import type { Stores } from "./stores.ts";

/** The services on the port. */
const services = [RunService, EventService, EngineService, AgentService];

/** The largest request message. The broker takes more, so what comes in can always be stored and read back. */
const maxRequestBytes = 4 * 1024 * 1024;

/** What a process shares between its roles. */
export interface Parts extends Stores {
  readonly feed: Feed;
  readonly positions: Positions;
  readonly jobs: Jobs;
  readonly aggregates: Aggregates<RunState>;
  readonly heartbeats: Heartbeats;
}

/** Opens the server with every service on it. */
export function openApi(options: ServeOptions, parts: Parts): Promise<Server> {
  const { limits, leaseTtlMs, heartbeatMs } = options;
  const { aggregates, feed, positions, jobs, heartbeats, log } = parts;
  const { db } = parts.postgres;
  const tokens = createLeaseTokens(options.secret);
  const record = createRunRecord(log);
  const agents = createAgents({ log, clock, ids, db, positions });
  const runs = createRuns({ aggregates, feed, db, positions, ids, limits, findAgent: agents.find });
  const engine = createEngine({ aggregates, record, jobs, tokens, clock, ids, limits, leaseTtlMs, heartbeats });
  const work = createWork({ aggregates, record, tokens, limits });
  const events = createEvents({
    log,
    feed,
    db,
    positions,
    ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
    runEnd: async ({ workspaceId }, runId) => {
      const { state, position } = await aggregates.load(workspaceId, runId);
      if (state.status === "absent") throw runNotFound(runId);
      return { position, terminal: !isOpen(state) };
    },
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
    readiness: () => readiness(parts),
    routes: (router) => {
      runRoutes(router, runs, draining.signal);
      engineRoutes(router, engine, work, draining.signal);
      eventRoutes(router, events, draining.signal);
      agentRoutes(router, agents);
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
