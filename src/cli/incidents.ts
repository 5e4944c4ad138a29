import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Feed } from "../eventlog/feed.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import { openAlarm, type OpenAlarm } from "../incidents/alarm.ts";
import type { RunFacts } from "../incidents/causes.ts";
import { createIncidents, type Incidents } from "../incidents/incidents.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { RunState } from "../runs/state.ts";
import type { ServeOptions } from "./serve.ts";
import type { Stores } from "./stores.ts";

/** What incidents are wired from. */
export interface IncidentParts extends Stores {
  readonly feed: Feed;
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
}

/** The incidents of a process. Disposing it drops alarms that are not reported yet. */
export interface WiredIncidents extends Disposable {
  readonly incidents: Incidents;
  readonly alarm: OpenAlarm;
  /** What is known of a run; undefined when there is none. */
  readonly findRun: (workspaceId: string, runId: string) => Promise<RunFacts | undefined>;
}

/** The incidents of a process, for callers, for its servers' alarms and for the reactor alike. */
export function wireIncidents(parts: IncidentParts, { log: logger }: Pick<ServeOptions, "log">): WiredIncidents {
  const { log, postgres, positions, feed, aggregates } = parts;
  const incidents = createIncidents({ log, clock, ids, db: postgres.db, positions });
  const findRun = async (workspaceId: string, runId: string): Promise<RunFacts | undefined> => {
    const { state } = await aggregates.load(workspaceId, runId);
    if (state.status === "absent") return undefined;
    const { roomId, zone, handler } = state.run;
    return { roomId, zone, handler, toolOf: (id) => state.toolCalls.get(id)?.toolCall.tool ?? "" };
  };
  const alarm = openAlarm({ reports: incidents, findRun, position: () => feed.position, log: logger });
  return { incidents, alarm, findRun, [Symbol.dispose]: () => alarm[Symbol.dispose]() };
}
