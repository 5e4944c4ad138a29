import { createAgents } from "../agents/agents.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import type { Positions } from "../readmodel/positions.ts";
import { createStarts } from "../runs/starts.ts";
import type { RunState } from "../runs/state.ts";
import { createSchedules, type Schedules } from "../schedules/schedules.ts";
import type { Stores } from "./stores.ts";

/** What schedules are wired from. */
export interface ScheduleParts extends Stores {
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
  readonly limits: Limits;
}

/** The schedules of a process, for callers and for the clock alike; they create runs as anybody does. */
export function wireSchedules({ log, postgres: { db }, positions, aggregates, limits }: ScheduleParts): Schedules {
  const agents = createAgents({ log, clock, ids, db, positions });
  const runs = createStarts({ aggregates, ids, limits, findAgent: agents.find });
  return createSchedules({ log, clock, ids, runs, db, positions, limits });
}
