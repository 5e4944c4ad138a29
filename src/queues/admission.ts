import { compareRank } from "./line.ts";
import { createGates, type Gate, type Gates, isOpen, type Limited } from "./gates.ts";
import type { QueueLimits } from "./limits.ts";

/** A queued run, as far as its limits go. */
export interface Applicant extends Limited {
  readonly workspaceId: string;
  readonly runId: string;
  /** True when a worker has had it before. */
  readonly begun: boolean;
}

/** A run that is known: in line, or with a place. */
interface Entry<Run> extends Limited {
  /** As it was when it was offered last. */
  run: Run;
  readonly gate: Gate<Entry<Run>>;
  /** What is newest of what is known about it is from here. */
  position: bigint;
  begun: boolean;
  hasPlace: boolean;
}

interface Workspace<Run> {
  readonly gates: Gates<Entry<Run>>;
  readonly entries: Map<string, Entry<Run>>;
  waiting: number;
  /** When somebody may pass, if nothing else happens: undefined when that is up to others. */
  nextMs: number | undefined;
}

/**
 * Who may be offered to workers when, under the limits of queues and agents. Pure memory: it is told what has happened,
 * each with the position in the log that it is true at, and an older word than the last about a run counts for nothing.
 */
export function createAdmission<Run extends Applicant>() {
  const workspaces = new Map<string, Workspace<Run>>();
  /** Where somebody may pass who could not before. */
  const changed = new Set<string>();

  function workspaceOf(workspaceId: string): Workspace<Run> {
    const known = workspaces.get(workspaceId) ?? {
      gates: createGates<Entry<Run>>(),
      entries: new Map<string, Entry<Run>>(),
      waiting: 0,
      nextMs: undefined,
    };
    workspaces.set(workspaceId, known);
    return known;
  }

  function add(run: Run, position: bigint): Entry<Run> {
    const { gates, entries } = workspaceOf(run.workspaceId);
    const { queue, agentId, concurrencyKey, priority, createTimeMs, begun } = run;
    const limited = { queue, agentId, concurrencyKey, priority, createTimeMs };
    const entry: Entry<Run> = { ...limited, run, gate: gates.enter(limited), position, begun, hasPlace: false };
    entries.set(run.runId, entry);
    return entry;
  }

  function lineOf({ gate, begun }: Entry<Run>) {
    return begun ? gate.begun : gate.fresh;
  }

  function standInLine(entry: Entry<Run>): void {
    lineOf(entry).add(entry);
    workspaceOf(entry.run.workspaceId).waiting++;
    changed.add(entry.run.workspaceId);
  }

  function leaveLine(entry: Entry<Run>): void {
    if (lineOf(entry).remove(entry)) workspaceOf(entry.run.workspaceId).waiting--;
  }

  function takePlace(entry: Entry<Run>): void {
    if (entry.hasPlace) return;
    entry.hasPlace = true;
    for (const places of entry.gate.places) places.taken++;
    if (!entry.begun && entry.gate.beginnings) entry.gate.beginnings.reserved++;
  }

  function givePlaceBack(entry: Entry<Run>): void {
    if (!entry.hasPlace) return;
    entry.hasPlace = false;
    for (const places of entry.gate.places) places.taken--;
    if (!entry.begun && entry.gate.beginnings) entry.gate.beginnings.reserved--;
    changed.add(entry.run.workspaceId);
  }

  /** The entry of a run, unless what is known of it is as new as this position. */
  function older(workspaceId: string, runId: string, position: bigint): Entry<Run> | undefined {
    const entry = workspaces.get(workspaceId)?.entries.get(runId);
    return entry !== undefined && entry.position < position ? entry : undefined;
  }

  /** Of those who may pass now, the one whose turn it is. */
  function nextOf({ gates }: Workspace<Run>, nowMs: number): Entry<Run> | undefined {
    let next: Entry<Run> | undefined;
    for (const gate of gates.all()) {
      for (const { head } of [gate.begun, gate.fresh]) {
        if (head === undefined || !isOpen(gate, head.begun, nowMs)) continue;
        if (next === undefined || compareRank(head, next) < 0) next = head;
      }
    }
    return next;
  }

  /** When a beginning that is long enough ago makes room for somebody who stands in line. */
  function nextTimeOf({ gates }: Workspace<Run>): number | undefined {
    let next: number | undefined;
    for (const { fresh, beginnings } of gates.all()) {
      if (fresh.size === 0 || beginnings === undefined) continue;
      const timeMs = beginnings.window.nextMs();
      if (timeMs !== undefined && (next === undefined || timeMs < next)) next = timeMs;
    }
    return next;
  }

  return {
    /** What is limited in the queue from now on; undefined for nothing. True unless there was and is nothing. */
    setQueue(workspaceId: string, queue: string, limits: QueueLimits | undefined): boolean {
      if (limits === undefined) return workspaces.get(workspaceId)?.gates.queues.delete(queue) ?? false;
      workspaceOf(workspaceId).gates.queues.set(queue, limits);
      return true;
    },
    /** How many runs of the agent may be under way, 0 for no limit. True when that is another number than before. */
    setAgent(workspaceId: string, agentId: string, maxRunning: number): boolean {
      const before = workspaces.get(workspaceId)?.gates.agents.get(agentId) ?? 0;
      if (before === maxRunning) return false;
      const { agents } = workspaceOf(workspaceId).gates;
      if (maxRunning === 0) agents.delete(agentId);
      else agents.set(agentId, maxRunning);
      return true;
    },
    limits: (run: Run): boolean => workspaces.get(run.workspaceId)?.gates.hasLimits(run) ?? false,
    enter(run: Run, position: bigint): boolean {
      const known = workspaceOf(run.workspaceId).entries.get(run.runId);
      if (known === undefined) {
        standInLine(add(run, position));
        return false;
      }
      if (known.position < position) {
        known.position = position;
        known.run = run;
      }
      return known.hasPlace;
    },
    occupy(run: Run, position: bigint): void {
      const known = workspaceOf(run.workspaceId).entries.get(run.runId);
      if (known !== undefined && known.position >= position) return;
      const entry = known ?? add(run, position);
      entry.position = position;
      leaveLine(entry);
      takePlace(entry);
    },
    hasRoom(run: Run, nowMs: number): boolean {
      const { gates } = workspaceOf(run.workspaceId);
      const gate = gates.enter(run);
      const open = isOpen(gate, run.begun, nowMs);
      gates.leave(gate);
      return open;
    },
    claimed(workspaceId: string, runId: string, position: bigint, timeMs: number): void {
      const entry = older(workspaceId, runId, position);
      if (entry === undefined) return;
      entry.position = position;
      // With a message from before it stood in line: it is under way, whatever the limits say.
      leaveLine(entry);
      takePlace(entry);
      if (entry.begun) return;
      entry.begun = true;
      const { beginnings } = entry.gate;
      if (beginnings === undefined) return;
      beginnings.reserved--;
      beginnings.window.begin(timeMs);
    },
    leave(workspaceId: string, runId: string, position: bigint): void {
      const entry = older(workspaceId, runId, position);
      if (entry === undefined) return;
      const { gates, entries } = workspaceOf(workspaceId);
      leaveLine(entry);
      givePlaceBack(entry);
      gates.leave(entry.gate);
      entries.delete(runId);
    },
    standsInLine: (workspaceId: string, runId: string): boolean =>
      workspaces.get(workspaceId)?.entries.get(runId)?.hasPlace === false,
    find: (workspaceId: string, runId: string): Run | undefined => workspaces.get(workspaceId)?.entries.get(runId)?.run,
    began(workspaceId: string, queue: string, timesMs: readonly number[]): void {
      const beginnings = workspaceOf(workspaceId).gates.beginningsOf(queue);
      for (const timeMs of timesMs) beginnings?.window.begin(timeMs);
    },
    admit(nowMs: number) {
      for (const [workspaceId, { nextMs }] of workspaces) {
        if (nextMs !== undefined && nextMs <= nowMs) changed.add(workspaceId);
      }
      const admitted: Run[] = [];
      for (const workspaceId of changed) {
        const workspace = workspaceOf(workspaceId);
        for (let entry = nextOf(workspace, nowMs); entry !== undefined; entry = nextOf(workspace, nowMs)) {
          leaveLine(entry);
          takePlace(entry);
          admitted.push(entry.run);
        }
        workspace.nextMs = nextTimeOf(workspace);
      }
      changed.clear();
      const times = [...workspaces.values()].flatMap(({ nextMs }) => nextMs ?? []);
      return { admitted, nextMs: times.length === 0 ? undefined : Math.min(...times) };
    },
    waiting(): number {
      let waiting = 0;
      for (const workspace of workspaces.values()) waiting += workspace.waiting;
      return waiting;
    },
    workspaces: (): string[] =>
      [...workspaces].flatMap(([id, { gates }]) => (gates.queues.size + gates.agents.size > 0 ? [id] : [])),
    scopeOf(workspaceId: string) {
      const { queues, agents } = workspaceOf(workspaceId).gates;
      return {
        queues: [...queues.keys()],
        agentIds: [...agents.keys()],
        rates: [...queues].flatMap(([queue, { rate }]) => (rate ? [{ queue, periodMs: rate.periodMs }] : [])),
      };
    },
    known: (workspaceId: string) =>
      [...workspaceOf(workspaceId).entries.values()].map(({ run, position }) => ({ runId: run.runId, position })),
    forget(workspaceId: string): Run[] {
      const workspace = workspaceOf(workspaceId);
      const waiting = [...workspace.entries.values()].filter(({ hasPlace }) => !hasPlace).map(({ run }) => run);
      workspace.entries.clear();
      workspace.gates.reset();
      workspace.waiting = 0;
      changed.add(workspaceId);
      return waiting;
    },
  };
}
