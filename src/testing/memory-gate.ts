import { type Approvals, createApprovals } from "../approvals/approvals.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import { createCedar } from "../policy/cedar.ts";
import { createGate, type PolicyGate } from "../policy/gate.ts";
import { createKillSwitchReport } from "../policy/kill-switch-report.ts";
import { createKillSwitches } from "../policy/kill-switches.ts";
import { createPolicies } from "../policy/policies.ts";
import { createPolicyBook, type PolicyBook } from "../policy/policy-book.ts";
import type { PolicyServices } from "../policy/service.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Alarm } from "../runs/gate.ts";
import { notInMemory } from "./absent-services.ts";
import type { MemoryLists } from "./memory-lists.ts";
import type { TestClock } from "./test-clock.ts";

/** What stands between runs and the outside in a test: the policies, kill switches and approvals of production. */
export interface MemoryGate extends PolicyServices {
  readonly book: PolicyBook;
  readonly gate: PolicyGate;
  readonly approvals: Approvals;
  readonly alarm: Alarm;
}

/** What the gate stands on. */
export interface MemoryGateDeps {
  readonly log: EventLog;
  readonly feed: Feed;
  readonly lists: MemoryLists;
  readonly clock: TestClock;
  readonly ids: IdSource;
}

const notThere = () => Promise.reject(notInMemory("the tables that this list is read from"));

/** What a test can not be asked: it has no tables. */
export const noTables: Db = { query: notThere };

/** What a test reads is as new as its log. */
export const noPositions = { reach: () => Promise.resolve() };

/** The limits that servers have by default. */
export const limits: Limits = { maxInputBytes: 1024 * 1024, maxOutputBytes: 1024 * 1024 };

/** The gate of a workspace that has put no policy: the default rules. */
export function createMemoryGate({ log, feed, lists, clock, ids }: MemoryGateDeps): MemoryGate {
  const book = createPolicyBook({ log, clock, ids, cedar: createCedar() });
  const switches = createKillSwitches({ log, clock, ids, feed });
  const gate = createGate(book, switches);
  const rolesOf = async (workspaceId: string) => (await book.present(workspaceId)).policy.roles;
  const positions = noPositions;
  return {
    book,
    gate,
    switches,
    policies: createPolicies({ book, gate, log, db: noTables, positions, maxPayloadBytes: limits.maxInputBytes }),
    report: createKillSwitchReport({ switches, log, positions, listStopped: notThere }),
    approvals: createApprovals({ log, clock, ids, lists, positions, limits, rolesOf }),
    // A test looks at what its run did.
    alarm: { fencedWrite() {}, payloadMismatch() {} },
  };
}
