import type { Aggregates, Draft, Loaded } from "../eventlog/aggregates.ts";
import type { EventType } from "../eventlog/event-type.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { LeaseTicket } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { hasReason } from "../kernel/errors.ts";
import { asWorker } from "./acting.ts";
import { runNotFound } from "./decider.ts";
import type { Alarm } from "./gate.ts";
import { type LeaseRef, requireLease } from "./lease-decider.ts";
import { leaseLost } from "./resource.ts";
import type { Lease, LiveRun, RunState } from "./state.ts";

/** A run after a worker's command; `recorded` is undefined when nothing had to be recorded. */
export interface Executed extends Loaded<LiveRun & RunState> {
  readonly recorded: EventRecord | undefined;
}

/** Runs as the workers that hold their leases reach them. */
export interface LeasedRuns {
  /** Decides and records, on behalf of the run's agent and creator. Tells the alarm of a write under a lease that was lost. */
  execute(
    call: Call,
    ticket: LeaseTicket,
    decide: (state: RunState, now: Date) => Draft | undefined,
  ): Promise<Executed>;
  /** The run as it is now, under this very lease. LEASE_LOST, RUN_NOT_FOUND. */
  load(workspaceId: string, ticket: LeaseTicket): Promise<Loaded<LiveRun & { readonly lease: Lease }>>;
}

/** What leased runs need. */
export interface LeasedRunsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly alarm: Alarm;
}

/** Leased runs on a log. */
export function createLeasedRuns({ aggregates, alarm }: LeasedRunsDeps): LeasedRuns {
  function reportFenced(workspaceId: string, ticket: LeaseTicket, error: unknown): void {
    if (!hasReason(error, "LEASE_LOST")) return;
    // A refusal rests on confirmed state, so this is the state that led to it, or a later one.
    const state = aggregates.cached(workspaceId, ticket.runId)?.state;
    if (state && wasFenced(state, ticket)) alarm.fencedWrite(workspaceId, ticket.runId, ticket.leaseId);
  }

  return {
    async execute(call, ticket, decide) {
      const id = ticket.runId;
      try {
        const loaded = await aggregates.execute({ call, id, decide: asWorker(call.principal, decide) });
        const { state } = loaded;
        if (state.status === "absent") throw runNotFound(id);
        return { ...loaded, state };
      } catch (error) {
        reportFenced(call.workspaceId, ticket, error);
        throw error;
      }
    },
    async load(workspaceId, ticket) {
      const loaded = await aggregates.load(workspaceId, ticket.runId);
      try {
        return { ...loaded, state: requireLease(loaded.state, ticket) };
      } catch (error) {
        reportFenced(workspaceId, ticket, error);
        throw error;
      }
    },
  };
}

const lapses: ReadonlySet<string> = new Set<EventType>(["run.lease_expired", "run.claimed"]);

/**
 * True when the lease was taken from its worker: it lapsed, or others have had the run since. A worker whose run was
 * canceled, or who gave it back itself, is only late.
 */
function wasFenced(state: RunState, { leaseId }: LeaseRef): boolean {
  if (state.status === "absent") return false;
  if (state.endedLease?.leaseId !== leaseId) return true;
  return lapses.has(state.endedLease.by) || state.run.error?.code === leaseLost.code;
}
