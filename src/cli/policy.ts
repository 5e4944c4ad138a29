import type { EventLog } from "../eventlog/event-log.ts";
import type { Feed } from "../eventlog/feed.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import { createCedar } from "../policy/cedar.ts";
import { createGate, type PolicyGate } from "../policy/gate.ts";
import { createKillSwitchReport } from "../policy/kill-switch-report.ts";
import { createKillSwitches } from "../policy/kill-switches.ts";
import { createPolicies } from "../policy/policies.ts";
import { createPolicyBook, type PolicyBook } from "../policy/policy-book.ts";
import type { PolicyServices } from "../policy/service.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { listStopped } from "../runs/stopped-queries.ts";

/** What policies are wired from. */
export interface PolicyWiring {
  readonly log: EventLog;
  readonly feed: Feed;
  readonly db: Db;
  readonly positions: Positions;
  readonly limits: Limits;
}

/** The policies of a process: what judges, and what answers callers. */
export interface PolicyParts extends PolicyServices {
  readonly book: PolicyBook;
  readonly gate: PolicyGate;
}

/** The policies and kill switches of a process, loaded once for everyone in it. */
export function wirePolicy({ log, feed, db, positions, limits }: PolicyWiring): PolicyParts {
  const book = createPolicyBook({ log, clock, ids, cedar: createCedar() });
  const switches = createKillSwitches({ log, clock, ids, feed });
  const gate = createGate(book, switches);
  return {
    book,
    gate,
    switches,
    policies: createPolicies({ book, gate, log, db, positions, maxPayloadBytes: limits.maxInputBytes }),
    report: createKillSwitchReport({
      switches,
      log,
      positions,
      listStopped: (workspaceId, flip, page) => listStopped(db, workspaceId, flip, page),
    }),
  };
}
