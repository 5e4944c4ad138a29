import type { LogStore } from "../../../src/eventlog/log-store.ts";
import { createMemoryStore, type PublishFault } from "../../../src/eventlog/memory-store.ts";
import type { StoredMessage } from "../../../src/eventlog/record.ts";
import { createLeaseTokens, type LeaseTokens } from "../../../src/jobs/lease-token.ts";
import type { Clock } from "../../../src/kernel/clock.ts";
import type { IdSource } from "../../../src/kernel/ids.ts";
import type { Postgres } from "../../../src/readmodel/postgres.ts";
import type { Seeded } from "../../support/seeded.ts";
import { createSimulatedQueue, type SimulatedQueue } from "./queue.ts";
import { createRunTable, createSimulatedPostgres, type Row } from "./read-model.ts";
import type { Mutant } from "./server.ts";

/** What the servers of a simulation share. */
export interface World {
  readonly store: LogStore;
  readonly queue: SimulatedQueue;
  readonly postgres: Postgres;
  readonly tokens: LeaseTokens;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly random: Seeded;
  readonly leaseTtlMs: number;
  readonly mutant: Mutant;
}

/** What a world depends on. */
export interface WorldOptions {
  readonly random: Seeded;
  readonly nowMs: () => number;
  /** True while the log and the queue misbehave. */
  readonly inTrouble: () => boolean;
  readonly leaseTtlMs: number;
  readonly mutant: Mutant;
}

/** A world, and how to look at it from outside. */
export interface WatchedWorld extends World {
  /** The runs of the log. */
  runs(): Promise<readonly Row[]>;
  /** The log behind a position. */
  readLog(after: bigint): Promise<readonly StoredMessage[]>;
}

const epochMs = Date.UTC(2026, 0, 1);
const faults: readonly PublishFault[] = ["stored_without_answer", "lost", "stored_late"];

/** An empty world in which the broker loses answers, lags and repeats itself while there is trouble. */
export function createWorld({ random, nowMs, inTrouble, leaseTtlMs, mutant }: WorldOptions): WatchedWorld {
  const store = createMemoryStore({
    fault: () => (inTrouble() && random.oneIn(12) ? random.pick(faults) : undefined),
    replicaLag: () => (inTrouble() ? random.below(4) : 0),
  });
  const readLog = (after: bigint) => store.batch(">", after, Number.MAX_SAFE_INTEGER);
  const runs = createRunTable(readLog);
  const nowDate = () => new Date(epochMs + nowMs());
  return {
    runs,
    readLog,
    store: mutant.store?.(store) ?? store,
    queue: createSimulatedQueue({ random, nowMs, leaseTtlMs, misbehaves: inTrouble }),
    postgres: createSimulatedPostgres(runs, () => nowDate().getTime()),
    tokens: createLeaseTokens(new Uint8Array(32)),
    clock: { now: nowDate },
    ids: countedIds(),
    random,
    leaseTtlMs,
    mutant,
  };
}

/** Ids that are the same in each repetition. */
function countedIds(): IdSource {
  let count = 0;
  return {
    next: (prefix) => `${prefix}_${String(++count).padStart(26, "0")}`,
    uuid: () => `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`,
  };
}
