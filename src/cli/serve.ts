import { agentProjections } from "../agents/projection.ts";
import { accessProjections } from "../access/projection.ts";
import { approvalProjections } from "../approvals/projection.ts";
import { runApprovalReactor } from "../approvals/reactor.ts";
import { artifactProjections } from "../artifacts/projection.ts";
import { runArtifactReactor } from "../artifacts/reactor.ts";
import { openDeltas } from "../deltas/deltas.ts";
import type { HttpEmbedderOptions } from "../documents/http-embedder.ts";
import { documentProjections } from "../documents/projection.ts";
import { evalProjections } from "../evals/projection.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import { openFeed } from "../eventlog/feed.ts";
import { incidentProjections } from "../incidents/projection.ts";
import { runIncidentReactor } from "../incidents/reactor.ts";
import { createHeartbeats } from "../jobs/heartbeats.ts";
import { openJobs } from "../jobs/jobs.ts";
import { systemClock } from "../kernel/clock.ts";
import { randomIds } from "../kernel/ids.ts";
import { fitLimits, type Limits } from "../kernel/limits.ts";
import { policyProjections } from "../policy/projection.ts";
import { openAdmission } from "../queues/open-admission.ts";
import { queueProjections } from "../queues/projection.ts";
import { createPositions } from "../readmodel/positions.ts";
import { runProjector } from "../readmodel/projector-loop.ts";
import type { Candidate } from "../runs/admission.ts";
import { runProjections } from "../runs/projection.ts";
import { roomProjections } from "../rooms/projection.ts";
import { runRoomReactor } from "../rooms/reactor.ts";
import { runReactors } from "../runs/reactors.ts";
import { runAggregate } from "../runs/state.ts";
import { scheduleProjections } from "../schedules/projection.ts";
import { runScheduleReactor } from "../schedules/reactor.ts";
import { sessionProjections } from "../sessions/projection.ts";
import type { AuthSettings } from "../server/auth.ts";
import type { Server } from "../server/server.ts";
import { openApi } from "./api.ts";
import { tellRuns, wireApprovals } from "./approvals.ts";
import { wireEvals } from "./evals.ts";
import { type ArtifactOptions, wireArtifacts } from "./artifacts.ts";
import { wireIncidents } from "./incidents.ts";
import { openRegistry } from "../workers/registry.ts";
import { wirePolicy } from "./policy.ts";
import { wireRooms } from "./rooms.ts";
import { wireSchedules } from "./schedules.ts";
import { openStores, type StoreOptions, streamName } from "./stores.ts";

/** Every table that is folded from the log. */
export const allProjections = [
  ...runProjections,
  ...agentProjections,
  ...queueProjections,
  ...scheduleProjections,
  ...sessionProjections,
  ...documentProjections,
  ...roomProjections,
  ...policyProjections,
  ...approvalProjections,
  ...incidentProjections,
  ...artifactProjections,
  ...accessProjections,
  ...evalProjections,
];

/** What a process of Signalbox can do, beside being a worker. */
export type Role = "server" | "projector" | "reactors";

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
  /** Write limits; lowered to what the broker takes. */
  readonly limits: Limits;
  /** Where artifacts are kept, and how much of them; the same on all servers of an installation. */
  readonly artifacts: ArtifactOptions;
  /** How long a lease holds without a heartbeat; the same on all servers of an installation. */
  readonly leaseTtlMs: number;
  readonly drainTimeoutMs: number;
  /** Who turns texts into vectors; default: nobody is asked. */
  readonly embeddings?: HttpEmbedderOptions | undefined;
  /** How often an idle subscription sends a heartbeat; default 15 s. */
  readonly heartbeatMs?: number;
}

/** A running process of Signalbox. Disposing it drains and closes everything, in reverse order. */
export interface Serving extends AsyncDisposable {
  /** Where it listens; undefined without the role `server`. */
  readonly url: string | undefined;
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
  const limits = fitLimits(options.limits, nats.connection.info?.max_payload ?? 0);
  const common = { postgres, schema, feed, positions, log };
  const schedules = wireSchedules({ ...stores, positions, aggregates, limits });
  const policy = wirePolicy({ log: stores.log, feed, db: postgres.db, positions, limits });
  const approvals = wireApprovals({ ...stores, positions, limits, book: policy.book });
  const rooms = wireRooms({ ...stores, positions, aggregates, limits });
  const wired = opening.use(wireIncidents({ ...stores, feed, positions, aggregates }, options));
  const { incidents, alarm } = wired;
  const keeping = { ...stores, feed, positions, aggregates, book: policy.book, alarm };
  // Who only projects needs neither the store nor the root key.
  const isKeeping = roles.has("server") || roles.has("reactors");
  const artifacts = isKeeping ? opening.use(await wireArtifacts(keeping, options)) : undefined;
  if (roles.has("projector")) {
    opening.use(background((signal) => runProjector({ ...common, projections: allProjections, signal })));
  }
  if (roles.has("reactors")) {
    const openLimits = () => openAdmission<Candidate>(postgres.db);
    const ofRuns = { aggregates, jobs, heartbeats, openAdmission: openLimits, leaseTtlMs };
    const reactors = { ...common, ...ofRuns, clock: systemClock, ids: randomIds };
    opening.use(background((signal) => runReactors({ ...reactors, signal })));
    const timed = { ...common, schedules, clock: systemClock };
    opening.use(background((signal) => runScheduleReactor({ ...timed, signal })));
    const deciding = {
      ...common,
      approvals,
      tellRun: tellRuns(aggregates),
      policyHashOf: policy.book.hashOf,
      clock: systemClock,
    };
    opening.use(background((signal) => runApprovalReactor({ ...deciding, signal })));
    const calling = { ...common, reactions: rooms.reactions };
    opening.use(background((signal) => runRoomReactor({ ...calling, signal })));
    const watching = {
      ...common,
      eventLog: stores.log,
      reports: incidents,
      findRun: wired.findRun,
      clock: systemClock,
    };
    opening.use(background((signal) => runIncidentReactor({ ...watching, signal })));
  }
  if (artifacts && roles.has("reactors")) {
    const sweeping = { ...common, ...artifacts.reacting };
    opening.use(background((signal) => runArtifactReactor({ ...sweeping, signal })));
  }
  let server: Server | undefined;
  if (artifacts && roles.has("server")) {
    const clock = systemClock;
    const deltas = opening.use(await openDeltas({ nats, stream: streamName("DELTAS", prefix), prefix, log }));
    const registry = opening.use(
      await openRegistry({ nats, stream: streamName("WORKERS", prefix), prefix, replicas, clock, log }),
    );
    const parts = {
      ...stores,
      feed,
      positions,
      jobs,
      aggregates,
      heartbeats,
      deltas,
      registry,
      schedules,
      rooms,
      policy,
      approvals,
      incidents,
      alarm,
      artifacts: await artifacts.serving(),
      evals: wireEvals({ ...stores, positions, aggregates }, limits),
    };
    server = opening.use(await openApi({ ...options, limits }, parts));
  }
  const open = opening.move();
  return { url: server?.url, [Symbol.asyncDispose]: () => open.disposeAsync() };
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
