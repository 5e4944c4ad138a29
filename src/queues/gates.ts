import type { QueueLimits } from "./limits.ts";
import { createLine, type Line, type Ranked } from "./line.ts";
import { createRateWindow, type RateWindow } from "./rate-window.ts";

/** A run as its limits see it. */
export interface Limited extends Ranked {
  readonly queue: string;
  /** Empty for none. */
  readonly agentId: string;
  /** Empty for none. */
  readonly concurrencyKey: string;
}

/** So many runs at the same time. */
interface Places {
  readonly key: string;
  readonly limit: number;
  taken: number;
  /** Gates that count here. */
  gates: number;
}

/** How many runs of a queue may begin. */
interface Beginnings {
  readonly window: RateWindow;
  /** Those that have a place and may begin at any moment. */
  reserved: number;
}

/** What all runs have to pass for which the same limits hold, and those that stand before it. */
export interface Gate<T> {
  readonly key: string;
  readonly places: readonly Places[];
  readonly held: boolean;
  readonly beginnings: Beginnings | undefined;
  /** Those that no worker has had yet: `held` and `beginnings` are for them. */
  readonly fresh: Line<T & Ranked>;
  readonly begun: Line<T & Ranked>;
  /** Runs that stand here or have passed and not left yet. */
  runs: number;
}

/** The gates of one workspace. */
export interface Gates<T> {
  /** Limits by queue; those that limit nothing are left out. */
  readonly queues: Map<string, QueueLimits>;
  /** How many runs of an agent may be under way, by its id. */
  readonly agents: Map<string, number>;
  /** True when the run has to pass a gate. */
  hasLimits(run: Limited): boolean;
  /** The gate of a run that has limits, which counts it from now on. */
  enter(run: Limited): Gate<T>;
  /** The gate does not count the run any more. */
  leave(gate: Gate<T>): void;
  /** The beginnings of a queue; undefined without a rate limit. */
  beginningsOf(queue: string): Beginnings | undefined;
  /** Every gate that a run stands before, or has passed and not left. */
  all(): Iterable<Gate<T>>;
  /** Nobody stands anywhere, and nothing has begun. */
  reset(): void;
}

/** No limits yet. */
export function createGates<T>(): Gates<T> {
  const queues = new Map<string, QueueLimits>();
  const agents = new Map<string, number>();
  const places = new Map<string, Places>();
  const beginnings = new Map<string, Beginnings>();
  const gates = new Map<string, Gate<T>>();

  function placesOf(key: string, limit: number): Places[] {
    if (limit === 0) return [];
    const known = places.get(key) ?? { key, limit, taken: 0, gates: 0 };
    places.set(key, known);
    known.gates++;
    return [known];
  }

  function beginningsOf(queue: string): Beginnings | undefined {
    const rate = queues.get(queue)?.rate;
    if (rate === undefined) return undefined;
    const known = beginnings.get(queue) ?? { window: createRateWindow(rate.runs, rate.periodMs), reserved: 0 };
    beginnings.set(queue, known);
    return known;
  }

  function openGate(key: string, queue: string, agentId: string, concurrencyKey: string): Gate<T> {
    const limits = queues.get(queue);
    return {
      key,
      places: [
        ...placesOf(`queue ${queue}`, limits?.maxRunning ?? 0),
        ...placesOf(`key ${queue} ${concurrencyKey}`, concurrencyKey === "" ? 0 : (limits?.maxRunningPerKey ?? 0)),
        ...placesOf(`agent ${agentId}`, agents.get(agentId) ?? 0),
      ],
      held: limits?.held ?? false,
      beginnings: beginningsOf(queue),
      fresh: createLine(),
      begun: createLine(),
      runs: 0,
    };
  }

  return {
    queues,
    agents,
    hasLimits: ({ queue, agentId }) => queues.has(queue) || agents.has(agentId),
    enter(run) {
      const { queue } = run;
      // Runs differ for a gate only in what is limited: else there would be as many gates as keys and agents.
      const agentId = agents.has(run.agentId) ? run.agentId : "";
      const concurrencyKey = queues.get(queue)?.maxRunningPerKey ? run.concurrencyKey : "";
      const key = `${queue} ${agentId} ${concurrencyKey}`;
      const gate = gates.get(key) ?? openGate(key, queue, agentId, concurrencyKey);
      gates.set(key, gate);
      gate.runs++;
      return gate;
    },
    leave(gate) {
      if (--gate.runs > 0) return;
      gates.delete(gate.key);
      for (const each of gate.places) if (--each.gates === 0) places.delete(each.key);
    },
    beginningsOf,
    all: () => gates.values(),
    reset() {
      for (const map of [gates, places, beginnings]) map.clear();
    },
  };
}

/** True when a run could pass now: one that has begun, or one that has not. */
export function isOpen<T>({ places, held, beginnings }: Gate<T>, begun: boolean, nowMs: number): boolean {
  if (places.some(({ limit, taken }) => taken >= limit)) return false;
  if (begun) return true;
  return !held && (beginnings === undefined || beginnings.window.room(nowMs) > beginnings.reserved);
}
