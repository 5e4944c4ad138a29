import type { Logger } from "pino";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { createAgents } from "../agents/agents.ts";
import { agentProjections } from "../agents/projection.ts";
import { agentRoutes } from "../agents/service.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import { createEventLog, type EventLog } from "../eventlog/event-log.ts";
import { type Feed, openFeed } from "../eventlog/feed.ts";
import { openJetStreamStore } from "../eventlog/jetstream-store.ts";
import { type Nats, openNats } from "../eventlog/nats.ts";
import { createSubjects } from "../eventlog/subjects.ts";
import { createEvents } from "../events/events.ts";
import { eventRoutes } from "../events/service.ts";
import { createHeartbeats } from "../jobs/heartbeats.ts";
import { type Jobs, openJobs } from "../jobs/jobs.ts";
import { createLeaseTokens } from "../jobs/lease-token.ts";
import { systemClock } from "../kernel/clock.ts";
import { randomIds } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import { createPositions, type Positions } from "../readmodel/positions.ts";
import { liveSchema, openPostgres, type Postgres } from "../readmodel/postgres.ts";
import { runProjector } from "../readmodel/projector-loop.ts";
import { createEngine } from "../runs/engine.ts";
import { engineRoutes } from "../runs/engine-service.ts";
import { runProjections } from "../runs/projection.ts";
import { runReactors } from "../runs/reactors.ts";
import { createRunRecord } from "../runs/run-record.ts";
import { createRuns } from "../runs/runs.ts";
import { runRoutes } from "../runs/service.ts";
import { isOpen, runNotFound } from "../runs/decider.ts";
import { runAggregate } from "../runs/state.ts";
import { createWork } from "../runs/work.ts";
import type { AuthSettings } from "../server/auth.ts";
import { openServer } from "../server/server.ts";

/** Every table that is folded from the log. */
export const allProjections = [...runProjections, ...agentProjections];

/** The services on the port. */
export const services = [RunService, EventService, EngineService, AgentService];

/** What a process of Signalbox can do, beside being a worker. */
export type Role = "server" | "projector" | "reactors";

/** Where the stores are and what they are called. */
export interface StoreOptions {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** Copies of the log: 3 for durability `replicated`, else 1. */
  readonly replicas: number;
  readonly leaseTtlMs: number;
  /** The first token of every subject; default `sb`. Tests take one of their own. */
  readonly prefix?: string;
  /** The schema of the read models; default `signalbox`. */
  readonly schema?: string;
  readonly log: Logger;
}

/** How a process serves. */
export interface ServeOptions extends StoreOptions {
  readonly roles: ReadonlySet<Role>;
  readonly host: string;
  readonly port: number;
  readonly auth: AuthSettings;
  readonly allowedOrigins: readonly string[];
  readonly reflection: boolean;
  /** 32 bytes that seal lease tokens; the same on all servers of an installation. */
  readonly secret: Uint8Array;
  readonly limits: Limits;
  readonly drainTimeoutMs: number;
  /** How often an idle subscription sends a heartbeat; default 15 s. */
  readonly heartbeatMs?: number;
}

/** The stores of an installation, connected. Disposing it closes the connections. */
export interface Stores extends AsyncDisposable {
  readonly nats: Nats;
  readonly postgres: Postgres;
  readonly log: EventLog;
  readonly schema: string;
  readonly prefix: string;
}

/** A running process of Signalbox. Disposing it drains and closes everything, in reverse order. */
export interface Serving extends AsyncDisposable {
  /** Where it listens; undefined without the role `server`. */
  readonly url: string | undefined;
}

/** Connects to the stores and creates or checks the log. The read models must be migrated. */
export async function openStores(options: StoreOptions): Promise<Stores> {
  const { prefix = "sb", schema = liveSchema, replicas, log } = options;
  await using opening = new AsyncDisposableStack();
  const nats = opening.use(await openNats({ url: options.natsUrl, name: "signalbox", log }));
  const subjects = createSubjects(prefix);
  const store = opening.use(
    await openJetStreamStore({ nats, stream: streamName("EVENTS", prefix), allSubjects: subjects.all, replicas, log }),
  );
  const postgres = opening.use(openPostgres({ url: options.databaseUrl, schema, log }));
  const open = opening.move();
  return {
    nats,
    postgres,
    log: createEventLog(store, subjects),
    schema,
    prefix,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Plays the roles until disposed. Nothing is served before everything is connected. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { roles, log, leaseTtlMs, replicas } = options;
  await using opening = new AsyncDisposableStack();
  const stores = opening.use(await openStores(options));
  const { nats, postgres, schema, prefix } = stores;
  const feed = opening.use(await openFeed(stores.log, log));
  const positions = opening.use(createPositions({ nats, postgres, subject: `${prefix}.projected` }));
  const jobs = opening.use(
    await openJobs({ nats, stream: streamName("JOBS", prefix), prefix, replicas, leaseTtlMs, log }),
  );
  const aggregates = createAggregates(runAggregate, { log: stores.log, clock: systemClock, ids: randomIds });
  const heartbeats = createHeartbeats(nats, `${prefix}.alive`);
  const common = { postgres, schema, feed, positions, log };
  if (roles.has("projector")) {
    opening.use(background((signal) => runProjector({ ...common, projections: allProjections, signal })));
  }
  if (roles.has("reactors")) {
    const reactors = { ...common, aggregates, jobs, heartbeats, clock: systemClock, ids: randomIds, leaseTtlMs };
    opening.use(background((signal) => runReactors({ ...reactors, signal })));
  }
  const server = roles.has("server")
    ? opening.use(await openApi(options, { ...stores, feed, positions, jobs, aggregates, heartbeats }))
    : undefined;
  const open = opening.move();
  return { url: server?.url, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

type Parts = Stores & {
  readonly feed: Feed;
  readonly positions: Positions;
  readonly jobs: Jobs;
  readonly aggregates: ReturnType<typeof createAggregates<RunStateOf>>;
  readonly heartbeats: ReturnType<typeof createHeartbeats>;
};
type RunStateOf = (typeof runAggregate)["initial"];

function openApi(options: ServeOptions, parts: Parts) {
  const { limits, leaseTtlMs, heartbeatMs } = options;
  const { aggregates, feed, positions, jobs, heartbeats, log } = parts;
  const { db } = parts.postgres;
  const clock = systemClock;
  const ids = randomIds;
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
  return openServer({
    ...options,
    services,
    draining,
    maxRequestBytes: 4 * 1024 * 1024,
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

function createMetrics(feed: Feed, positions: Positions): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, read: () => bigint) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(Number(read()));
      },
    });
  gauge("signalbox_log_head_position", "Newest position that this process has seen in the log.", () => feed.position);
  gauge("signalbox_projected_position", "Position that the read models have reached.", () => positions.known);
  return registry;
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
    ask(() => log.bounds()),
    ask(() => postgres.db.query({ name: "ready", text: "select position from checkpoints where name = 'projector'" })),
  ]);
  return { event_log: eventLog, read_model: readModel };
}

/** The installation's own streams carry the plain names; others add their prefix. */
function streamName(name: string, prefix: string): string {
  return prefix === "sb" ? name : `${name}_${prefix}`;
}

/** Something that runs until it is disposed. */
function background(run: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
  const stop = new AbortController();
  const running = run(stop.signal);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}
