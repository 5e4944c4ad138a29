import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** A queued run as a limit sees it, and what its job needs. */
export interface Candidate {
  readonly workspaceId: string;
  readonly runId: string;
  readonly handler: string;
  readonly queue: string;
  /** Empty for none. */
  readonly agentId: string;
  /** Empty for none. */
  readonly concurrencyKey: string;
  /** 9 goes before 0. */
  readonly priority: number;
  /** Of the same priority, the earlier one goes first. Milliseconds since the epoch. */
  readonly createTimeMs: number;
  /** True when a worker has had it before. */
  readonly begun: boolean;
  /** True when it was queued again after a wait or a pause: the job that it had before may still be there. */
  readonly requeued: boolean;
  /** Where its stream is. */
  readonly position: bigint;
}

/** What limits the runs of a workspace. */
export interface LimitedScope {
  readonly queues: readonly string[];
  readonly agentIds: readonly string[];
  /** Of which of these queues it is limited how many runs begin, and in which time. */
  readonly rates: readonly { readonly queue: string; readonly periodMs: number }[];
}

/**
 * Who may be offered to workers when. It knows of the runs under limits only, and only what it is told: each word comes
 * with the position in the log that it is true at, and an older one than the last about the same run counts for nothing.
 * A run takes a place from when it is offered until it waits, is paused or ends.
 */
export interface Admission {
  /** Takes in a change of what is limited; true when the runs of the event's workspace have to be counted anew. */
  observe(event: Event): boolean;
  /** True when a limit holds for the run. All else is about such runs only. */
  limits(run: Candidate): boolean;
  /** The run is queued: it stands in line unless it has a place. True when it has one. */
  enter(run: Candidate, position: bigint): boolean;
  /** The run has a place, whatever the limits say. */
  occupy(run: Candidate, position: bigint): void;
  /** True when the run could have a place now. */
  hasRoom(run: Candidate, nowMs: number): boolean;
  /** A worker has taken the run. */
  claimed(workspaceId: string, runId: string, position: bigint, timeMs: number): void;
  /** The run waits, is paused or has ended. */
  leave(workspaceId: string, runId: string, position: bigint): void;
  /** True when the run stands in line. */
  standsInLine(workspaceId: string, runId: string): boolean;
  /** The run, if it is known; with a place or in line. */
  find(workspaceId: string, runId: string): Candidate | undefined;
  /** Runs of a queue have begun at these times, in order: for its rate limit. */
  began(workspaceId: string, queue: string, timesMs: readonly number[]): void;
  /** Gives places away. Those who got one are to be offered; at `nextMs` there may be more, undefined when that is up to others. */
  admit(nowMs: number): { readonly admitted: readonly Candidate[]; readonly nextMs: number | undefined };
  /** How many stand in line. */
  waiting(): number;
  /** The workspaces that have limits. */
  workspaces(): readonly string[];
  /** What is limited in a workspace. */
  scopeOf(workspaceId: string): LimitedScope;
  /** The runs of a workspace that are known, and since when. */
  known(workspaceId: string): readonly { readonly runId: string; readonly position: bigint }[];
  /** Forgets the runs of a workspace, to be told of them anew; returns those that stood in line. */
  forget(workspaceId: string): readonly Candidate[];
}
