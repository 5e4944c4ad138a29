import type { Logger } from "pino";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { sleep } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { createReconciler } from "./reconciler.ts";
import type { RunState } from "./state.ts";

/** What the reactors need. */
export interface ReactorsOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
  readonly jobs: Jobs;
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly leaseTtlMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** How long one wait for new records lasts; the loop looks at its signal in between. */
const waitMs = 60_000;

/**
 * Turns created runs into jobs until the signal aborts; of several processes one works, the others stand by. It keeps no
 * place of its own: it begins at the log's end, and the reconciler finds whatever was missed.
 */
export function runReactors(options: ReactorsOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  return lead({
    postgres,
    role: "reactors",
    schema,
    log,
    signal,
    play: async (_client, playing) => {
      const stop = new AbortController();
      const until = AbortSignal.any([playing, stop.signal]);
      const both = [makeJobs(options, until), reconcile(options, until)];
      // When one ends, for whatever reason, the other has to as well.
      await Promise.race(both).finally(() => stop.abort());
      await Promise.all(both);
    },
  });
}

async function makeJobs({ feed, jobs, ids, log }: ReactorsOptions, signal: AbortSignal): Promise<void> {
  using subscription = feed.subscribe("all", feed.position);
  while (!signal.aborted) {
    const records = await subscription.next(waitMs, signal);
    const made = await Promise.allSettled(records.map((record) => makeJob(jobs, ids, record)));
    for (const result of made) {
      if (result.status === "rejected") log.warn({ err: result.reason }, "job not made, the reconciler will");
    }
  }
}

async function makeJob(jobs: Jobs, ids: IdSource, { event }: EventRecord): Promise<void> {
  if (event.payload.case !== "runCreated") return;
  const { queue, handler } = event.payload.value;
  await jobs.publish({
    workspaceId: event.workspaceId,
    queue,
    handler,
    runId: event.stream?.id ?? "",
    jobId: ids.next("job"),
  });
}

async function reconcile(options: ReactorsOptions, signal: AbortSignal): Promise<void> {
  const { feed, positions, log, leaseTtlMs } = options;
  const reconciler = createReconciler(options);
  using _listening = reconciler.listen();
  const sweepMs = Math.min(Math.max(leaseTtlMs / 6, 200), 5_000);
  while (!signal.aborted) {
    let nextMs = sweepMs;
    try {
      await positions.reach(feed.position, signal);
      nextMs = Math.min(sweepMs, await reconciler.sweep(signal));
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "sweep failed, repeating");
    }
    await sleep(nextMs, signal);
  }
}
