import { agentProjections } from "../agents/projection.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import { openFeed } from "../eventlog/feed.ts";
import { createHeartbeats } from "../jobs/heartbeats.ts";
import { openJobs } from "../jobs/jobs.ts";
import { systemClock } from "../kernel/clock.ts";
import { randomIds } from "../kernel/ids.ts";
import { fitLimits, type Limits } from "../kernel/limits.ts";
import { createPositions } from "../readmodel/positions.ts";
import { runProjector } from "../readmodel/projector-loop.ts";
import { runProjections } from "../runs/projection.ts";
import { runReactors } from "../runs/reactors.ts";
import { runAggregate } from "../runs/state.ts";
import type { AuthSettings } from "../server/auth.ts";
import { openApi } from "./api.ts";
import { openStores, type StoreOptions, streamName } from "./stores.ts";

/** Every table that is folded from the log. */
export const allProjections = [...runProjections, ...agentProjections];

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
  /** How long a lease holds without a heartbeat; the same on all servers of an installation. */
  readonly leaseTtlMs: number;
  readonly drainTimeoutMs: number;
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
  if (roles.has("projector")) {
    opening.use(background((signal) => runProjector({ ...common, projections: allProjections, signal })));
  }
  if (roles.has("reactors")) {
    const reactors = { ...common, aggregates, jobs, heartbeats, clock: systemClock, ids: randomIds, leaseTtlMs };
    opening.use(background((signal) => runReactors({ ...reactors, signal })));
  }
  const server = roles.has("server")
    ? opening.use(await openApi({ ...options, limits }, { ...stores, feed, positions, jobs, aggregates, heartbeats }))
    : undefined;
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
