import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { derivedId, type IdSource } from "../kernel/ids.ts";
import type { Db } from "../readmodel/postgres.ts";
import { isFull, recordOccurrence } from "./decider.ts";
import type { Occurrence } from "./occurrence.ts";
import { countOfCause } from "./queries.ts";
import type { IncidentState } from "./state.ts";

/** What has become of an occurrence. */
export interface Reported {
  /** The incident that it belongs to. */
  readonly incidentId: string;
  /** False when the incident knew it, records no more of them, or was resolved after it had happened. */
  readonly recorded: boolean;
  /** True when the incident is open and records no further occurrence. */
  readonly full: boolean;
}

/** Who takes note of what went wrong. */
export interface Reports {
  /**
   * Opens the incident of a cause, or adds to the one that is open. `position` is a place in the log at which it had
   * happened; `event` is what it follows from, if anything. The same occurrence again changes nothing, from whatever
   * process and in whatever order. CONTENTION, STORE_UNAVAILABLE.
   */
  report(occurrence: Occurrence, position: bigint, event?: Event): Promise<Reported>;
}

/** What reports need. */
export interface ReportsDeps {
  readonly aggregates: Aggregates<IncidentState>;
  readonly db: Db;
  readonly ids: IdSource;
}

/** Causes whose newest incident is remembered. */
const rememberedCauses = 10_000;

const signalbox: Principal = create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "signalbox" });

/**
 * The incidents of a cause are numbered, and their ids follow from cause and number. The next number is only tried when the
 * one before is on record as resolved, and that is for good: so two of a cause are never open, however many report at once.
 */
export function createReports({ aggregates, db, ids }: ReportsDeps): Reports {
  const numbers = new Map<string, number>();

  async function numberOf(key: string, { workspaceId, cause }: Occurrence): Promise<number> {
    return numbers.get(key) ?? (await countOfCause(db, workspaceId, cause));
  }

  function remember(key: string, number: number): void {
    numbers.delete(key);
    numbers.set(key, number);
    const [oldest] = numbers.size > rememberedCauses ? numbers.keys() : [];
    if (oldest !== undefined) numbers.delete(oldest);
  }

  return {
    async report(occurrence, position, event) {
      const { workspaceId, roomId, cause } = occurrence;
      const key = `${workspaceId}/${cause}`;
      const call = {
        workspaceId,
        principal: signalbox,
        correlationId: event?.correlationId || ids.next("corr"),
        traceparent: event?.traceparent ?? "",
      };
      // One back: what happened before the newest one was opened may belong to the one before.
      for (let number = Math.max((await numberOf(key, occurrence)) - 1, 1); ; number++) {
        const incidentId = derivedId("inc", workspaceId, "cause", cause, String(number));
        const { state, recorded } = await aggregates.execute({
          call,
          id: incidentId,
          creation: { roomId, repeatable: true },
          ...(event === undefined ? {} : { causationId: event.eventId }),
          decide: (current) => recordOccurrence(current, occurrence),
        });
        if (state.status === "absent") throw new Error(`incident ${incidentId} was neither opened nor found`);
        remember(key, number);
        const resolved = state.status === "resolved";
        if (resolved && state.resolvePosition <= position) continue;
        return { incidentId, recorded: recorded !== undefined, full: !resolved && isFull(state) };
      }
    },
  };
}
