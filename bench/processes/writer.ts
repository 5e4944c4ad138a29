import { type Aggregates, createAggregates } from "../../src/eventlog/aggregates.ts";
import { openStores, type Stores } from "../../src/cli/stores.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { type RunState, runAggregate } from "../../src/runs/state.ts";
import { answerQuestions } from "../support/answer.ts";
import { inParallel } from "../support/load.ts";
import { createLogger } from "../support/logger.ts";
import { recordCreated } from "../support/runs.ts";

const resources = new AsyncDisposableStack();
const concurrency = 64;
let opened: { readonly stores: Stores; readonly aggregates: Aggregates<RunState> } | undefined;

function installation() {
  if (opened === undefined) throw new Error("open comes first");
  return opened;
}

const functions = {
  /** Connects to the installation. */
  async open({ natsUrl, databaseUrl }: { natsUrl: string; databaseUrl: string }): Promise<void> {
    const stores = resources.use(await openStores({ natsUrl, databaseUrl, replicas: 1, log: createLogger() }));
    const deps = { log: stores.log, clock: systemClock, ids: randomIds };
    opened = { stores, aggregates: createAggregates(runAggregate, deps) };
  },
  /** The newest position of the log. */
  head: async (): Promise<bigint> => (await installation().stores.log.bounds()).head,
  /** Records so many runs in the room, as fast as the log takes them. */
  append({ roomId, count }: { roomId: string; count: number }): Promise<void> {
    const { aggregates } = installation();
    return inParallel(count, concurrency, () => recordCreated(aggregates, roomId));
  },
  /** The newest event as subscribers get it. */
  async newest(): Promise<Uint8Array> {
    const { log } = installation().stores;
    const record = await log.last(log.subjects.all);
    if (record === undefined) throw new Error("the log is empty");
    return record.wire;
  },
};

/** Another server of the installation that has nothing to do but to append, in a process of its own. */
export type WriterProcess = typeof functions;

answerQuestions(functions, resources);
