import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Feed } from "../eventlog/feed.ts";
import { chainHash, type EventRecord } from "../eventlog/record.ts";
import type { Clock } from "../kernel/clock.ts";
import { equalBytes } from "../kernel/digest.ts";
import { hasReason } from "../kernel/errors.ts";
import { sleep } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { concernsRun, logDamaged, occurrencesIn, type RunFacts } from "./causes.ts";
import type { Occurrence } from "./occurrence.ts";
import { watchProjector } from "./projector-watch.ts";
import type { Reports } from "./reports.ts";

/** What the reactor needs. */
export interface IncidentReactorOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly eventLog: Pick<EventLog, "read" | "subjects">;
  readonly feed: Feed;
  readonly reports: Reports;
  /** What is known of a run; undefined when there is none. STORE_UNAVAILABLE. */
  readonly findRun: (workspaceId: string, runId: string) => Promise<RunFacts | undefined>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long the read models may stand still, in milliseconds; default 30,000. */
  readonly stallMs?: number;
  readonly signal: AbortSignal;
}

/** How long one wait for new records lasts. */
const waitMs = 60_000;
/** The pause after something went wrong. */
const retryMs = 1_000;
/**
 * Whoever takes the lead looks again at what came last, for nobody may have been there when it came; a report that is
 * repeated changes nothing. Without the reactors nobody is given work, so there is little that happens in their absence.
 */
const lookBackRecords = 10_000n;
const lookBackMs = 24 * 60 * 60_000;

/** Opens incidents for what goes wrong, until the signal aborts; of several processes one works, the others stand by. */
export function runIncidentReactor(options: IncidentReactorOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  return lead({
    postgres,
    role: "incidents",
    schema,
    log,
    signal,
    play: async (_client, playing) => {
      const stop = new AbortController();
      const until = AbortSignal.any([playing, stop.signal]);
      const both = [follow(options, until), watchProjector(options, until)];
      // When one ends, for whatever reason, the other has to as well.
      await Promise.race(both).finally(() => stop.abort());
      await Promise.all(both);
    },
  });
}

/** One after the other, in the order of the log: what an incident belongs to depends on what came before it. */
async function follow(options: IncidentReactorOptions, signal: AbortSignal): Promise<void> {
  const { feed, findRun, clock } = options;
  const keep = createKeeper(options, signal);
  const began = feed.position;
  using subscription = feed.subscribe("all", began > lookBackRecords ? began - lookBackRecords : 0n);
  while (!signal.aborted) {
    for (const record of await subscription.next(waitMs, signal)) {
      if (signal.aborted) return;
      if (!isIntact(record)) {
        await keep.take(record.position, undefined, async () => [damageIn(record)]);
        continue;
      }
      const { event, position } = record;
      if (event.payload.case === "incidentResolved") keep.resolved(event.stream?.id ?? "");
      if (position <= began && clock.now().getTime() - timeMs(event) > lookBackMs) continue;
      await keep.take(position, event, async () => {
        const run = concernsRun(event) ? await findRun(event.workspaceId, event.stream?.id ?? "") : undefined;
        return occurrencesIn(event, run);
      });
    }
  }
}

/** Sees to it that what was found is reported. */
interface Keeper {
  /** Reports what `find` finds, which follows from the event, if any; returns when that is on record. */
  take(position: bigint, event: Event | undefined, find: () => Promise<Occurrence[]>): Promise<void>;
  /** An incident of which the log says so is resolved. */
  resolved(incidentId: string): void;
}

function createKeeper({ reports, log }: IncidentReactorOptions, signal: AbortSignal): Keeper {
  // Incidents that are open and record no more, by cause: thousands of runs that fail alike cost nothing.
  const full = new Map<string, string>();

  async function report(position: bigint, event: Event | undefined, found: readonly Occurrence[]): Promise<void> {
    for (const occurrence of found) {
      const key = `${occurrence.workspaceId}/${occurrence.cause}`;
      if (full.has(key)) continue;
      const reported = await reports.report(occurrence, position, event);
      if (reported.full) full.set(key, reported.incidentId);
    }
  }

  return {
    async take(position, event, find) {
      while (!signal.aborted) {
        try {
          return await report(position, event, await find());
        } catch (error) {
          if (signal.aborted) return;
          // What never succeeds must not keep everything behind it from being looked at.
          if (!hasReason(error, "STORE_UNAVAILABLE", "CONTENTION")) {
            log.error({ err: error, position }, "no incident opened");
            return;
          }
          log.warn({ err: error, position }, "no incident opened, repeating");
          await sleep(retryMs, signal);
        }
      }
    },
    resolved(incidentId) {
      for (const [key, id] of full) if (id === incidentId) full.delete(key);
    },
  };
}

function isIntact({ hash, prevHash, body }: EventRecord): boolean {
  return equalBytes(hash, chainHash(prevHash, body));
}

/** The damage of a record, as far as it can be read at all. */
function damageIn(record: EventRecord): Occurrence {
  const { subject, position } = record;
  const [workspaceId = ""] = subject.split(".").slice(-4);
  try {
    return logDamaged(workspaceId, position, record.event);
  } catch {
    // Its bytes are no event: the position has to do.
    return logDamaged(workspaceId, position, undefined);
  }
}

function timeMs({ createTime }: Event): number {
  return createTime === undefined ? 0 : timestampMs(createTime);
}
