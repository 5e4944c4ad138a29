import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { EventRecord } from "../eventlog/record.ts";
import type { Background } from "../kernel/background.ts";
import type { Clock } from "../kernel/clock.ts";
import { createDueTimers, type Due, type DueTimers } from "../readmodel/due-timers.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { SystemCommand } from "./system-command.ts";
import { wakeRun } from "./wait-decider.ts";
import { wakingRuns } from "./waiting-queries.ts";

/** Wakes the runs that wait for a time. */
export interface WakeTimers extends Pick<DueTimers, "sweep">, Disposable {
  /** Learns of a run that waits from a new event. */
  take(record: EventRecord): void;
}

/** What wake timers need. */
export interface WakeTimersDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly command: SystemCommand;
  readonly background: Background;
}

/** No timer yet. */
export function createWakeTimers({ db, clock, command, background }: WakeTimersDeps): WakeTimers {
  const wake = (workspaceId: string, runId: string, timeMs: number): Due => ({
    key: `${workspaceId}/${runId}`,
    timeMs,
    act: () => command(workspaceId, runId, (state) => wakeRun(state, clock.now())),
  });
  const timers = createDueTimers({
    clock,
    background,
    find: async (by, limit) =>
      (await wakingRuns(db, by, limit)).map(({ workspaceId, runId, wakeTime }) =>
        wake(workspaceId, runId, wakeTime.getTime()),
      ),
  });
  return {
    take({ event }) {
      if (event.payload.case !== "runSuspended") return;
      const { conditions } = event.payload.value;
      const times = conditions.flatMap(({ condition }) =>
        condition.case === "time" ? timestampMs(condition.value) : [],
      );
      if (times.length > 0) timers.set(wake(event.workspaceId, event.stream?.id ?? "", Math.min(...times)));
    },
    sweep: timers.sweep,
    [Symbol.dispose]: () => timers[Symbol.dispose](),
  };
}
