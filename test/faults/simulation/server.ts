import { type Aggregates, createAggregates } from "../../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../../src/eventlog/event-log.ts";
import type { LogStore } from "../../../src/eventlog/log-store.ts";
import { createSubjects } from "../../../src/eventlog/subjects.ts";
import type { LeaseTokens } from "../../../src/jobs/lease-token.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import { createEngine, type Engine } from "../../../src/runs/engine.ts";
import { candidateOf } from "../../../src/runs/candidate.ts";
import { createReconciler, type Reconciler } from "../../../src/runs/reconciler.ts";
import { createRunRecord } from "../../../src/runs/run-record.ts";
import { createRuns, type Runs } from "../../../src/runs/runs.ts";
import { runAggregate, type RunState } from "../../../src/runs/state.ts";
import { createSystemCommand } from "../../../src/runs/system-command.ts";
import { createWork, type Work } from "../../../src/runs/work.ts";
import { allowingGate } from "../../support/allowing-gate.ts";
import type { World } from "./world.ts";

/** A part of the product, done wrong on purpose. */
export interface Mutant {
  /** The log that all servers write to. */
  readonly store?: (store: LogStore) => LogStore;
  /** The parts of a server that decide about leases. */
  readonly fencing?: (parts: FencingParts) => FencingParts;
}

/** What stands between a worker and the stream of a run. */
export interface FencingParts {
  readonly tokens: LeaseTokens;
  readonly aggregates: Aggregates<RunState>;
}

/** A server without network and processes. */
export interface SimulatedServer {
  readonly runs: Runs;
  readonly engine: Engine;
  readonly work: Work;
  readonly reconciler: Reconciler;
  /** Whatever the server was doing stops where it is; its callers are told that the connection broke. */
  crash(): void;
  /** The answer to a call, unless the server crashes first. */
  answer<T>(call: Promise<T>): Promise<T>;
}

const limits = { maxInputBytes: 1024 * 1024, maxOutputBytes: 1024 * 1024 };

const absent = () => {
  throw new Error("the simulation has no such part");
};

/** What the simulated calls do not need: they neither wait nor list, and name no agents. */
const unused = {
  feed: { position: 0n, subscribe: absent, [Symbol.asyncDispose]: async () => {} },
  lists: { runs: absent, steps: absent, toolCalls: absent },
  positions: { known: 0n, reach: absent, announce: absent, [Symbol.asyncDispose]: async () => {} },
  findAgent: absent,
};

/** Starts a server that knows nothing yet. */
export function startServer(world: World): SimulatedServer {
  const { queue, clock, ids, leaseTtlMs, mutant, postgres } = world;
  let crashed = false;
  const crash = Promise.withResolvers<never>();
  crash.promise.catch(() => undefined);
  const eventLog = createEventLog(
    slowStore(world, () => crashed),
    createSubjects(),
  );
  // A cache that holds a run or two: cold loads are part of the matter.
  const own = createAggregates(runAggregate, { log: eventLog, clock, ids, cacheBytes: 4_000 });
  const parts = { tokens: world.tokens, aggregates: own };
  const { tokens, aggregates } = mutant.fencing?.(parts) ?? parts;
  const record = createRunRecord(eventLog);
  const { jobs, heartbeats } = queue;
  const command = createSystemCommand(aggregates, ids);
  const offers = { look: makeMissing, waiting: () => 0 };

  async function makeMissing(workspaceId: string, runId: string): Promise<void> {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status === "queued") await jobs.publish({ ...candidateOf(state), jobId: ids.next("job") });
  }

  return {
    runs: createRuns({ aggregates, ids, limits, ...unused }),
    engine: createEngine({
      aggregates,
      record,
      jobs,
      tokens,
      clock,
      ids,
      limits,
      leaseTtlMs,
      heartbeats,
      ...allowingGate,
    }),
    work: createWork({ aggregates, record, tokens, limits, ...allowingGate }),
    reconciler: createReconciler({ db: postgres.db, aggregates, command, jobs, offers, heartbeats, clock, leaseTtlMs }),
    crash() {
      crashed = true;
      crash.reject(new Error("connection lost"));
    },
    answer: (call) => Promise.race([call, crash.promise]),
  };
}

/** The log as one server reaches it: questions and answers take their time, and end with the server. */
function slowStore({ store, random }: World, crashed: () => boolean): LogStore {
  const late =
    <A extends unknown[], R>(fn: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await onTheWay();
      const result = await fn(...args);
      await onTheWay();
      return result;
    };
  async function onTheWay(): Promise<void> {
    await sleep(random.below(10));
    // A process that is gone does not go on.
    if (crashed()) await new Promise<never>(() => {});
  }
  return {
    ...store,
    publish: late(store.publish),
    last: late(store.last),
    next: late(store.next),
    batch: late(store.batch),
  };
}
