import { clientOver, type SignalboxClient } from "../../../src/client/clients.ts";
import { createAggregates } from "../../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../../src/eventlog/event-log.ts";
import { openFeed } from "../../../src/eventlog/feed.ts";
import { createMemoryStore } from "../../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../../src/eventlog/subjects.ts";
import { randomIds as ids } from "../../../src/kernel/ids.ts";
import type { PolicyGate } from "../../../src/policy/gate.ts";
import { runAggregate } from "../../../src/runs/state.ts";
import { createMemoryApprovals } from "../../../src/testing/memory-approvals.ts";
import { createMemoryDeltas } from "../../../src/testing/memory-deltas.ts";
import { createMemoryGate } from "../../../src/testing/memory-gate.ts";
import { createMemoryJobs } from "../../../src/testing/memory-jobs.ts";
import { createMemoryLists } from "../../../src/testing/memory-lists.ts";
import { createMemoryReactors } from "../../../src/testing/memory-reactors.ts";
import { openMemoryServices } from "../../../src/testing/memory-services.ts";
import { silent } from "../../../src/testing/silent-logger.ts";
import { createTestClock } from "../../../src/testing/test-clock.ts";
import { decodeLog, type LogEvent } from "../../support/invariants.ts";

/** The production services in memory, one part of them changed. */
export interface MemoryWorld extends AsyncDisposable {
  client(workspaceId: string): SignalboxClient;
  /** Everything in the log, once everything that follows from it has happened. */
  log(): Promise<LogEvent[]>;
}

/** Opens the services; `spoil` may put something else in the place of the gate. */
export async function openMemoryWorld(spoil: (gate: PolicyGate) => PolicyGate = (gate) => gate): Promise<MemoryWorld> {
  const clock = createTestClock(new Date());
  const log = createEventLog(createMemoryStore(), createSubjects("sb"));
  const feed = await openFeed(log, silent);
  const aggregates = createAggregates(runAggregate, { log, clock, ids });
  const jobs = createMemoryJobs(clock);
  const lists = createMemoryLists();
  const reactors = createMemoryReactors({ aggregates, lists, jobs, clock, ids });
  const honest = createMemoryGate({ log, feed, lists, clock, ids });
  const gate = { ...honest, gate: spoil(honest.gate) };
  const approvals = createMemoryApprovals({ aggregates, approvals: gate.approvals, lists, clock, ids });
  const deltas = createMemoryDeltas();
  const transport = openMemoryServices({ log, feed, aggregates, lists, jobs, deltas, gate, clock, ids });
  const closing = new AbortController();
  let reacted = 0n;

  async function follow(): Promise<void> {
    for await (const record of log.tail(0n, closing.signal)) {
      lists.take(record);
      await reactors.react(record);
      await approvals.react(record);
      reacted = record.position;
    }
  }

  const following = follow();
  return {
    client: (workspaceId) => clientOver(transport, { workspaceId }),
    async log() {
      for (let head = -1n; reacted !== head;) {
        await new Promise((resolve) => setImmediate(resolve));
        ({ head } = await log.bounds());
      }
      return decodeLog(await Array.fromAsync(log.read(log.subjects.all, 0n, reacted)));
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await following;
      await feed[Symbol.asyncDispose]();
    },
  };
}
