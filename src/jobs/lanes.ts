import type { Logger } from "pino";
import type { Dispatcher } from "./dispatcher.ts";
import { usualPriority } from "./job.ts";

/** The jobs of one route that have the same priority, as this process takes them. */
export interface Lane {
  readonly priority: number;
  readonly dispatcher: Dispatcher;
}

/** The lanes of one route: one for each priority that its jobs have had. */
export interface Lanes extends Disposable {
  /** Resolves when every lane is open that has jobs. Rejects when the broker can not be asked; the next call asks again. */
  ready(): Promise<void>;
  /** The lanes that are open. */
  readonly open: readonly Lane[];
  /** Somebody has made a job of this priority. */
  learn(priority: number): void;
  /** Calls `found` with each lane that opens from now on. Returns the way to stop that. */
  onOpened(found: (lane: Lane) => void): () => void;
  /** Looks for lanes and asks for jobs anew: after a reconnect both the broker and we may have missed something. */
  reset(): void;
}

/** What the lanes of a route need. */
export interface LanesOptions {
  /** The priorities, beside 0, of which there are jobs. */
  readonly present: () => Promise<readonly number[]>;
  /** Opens the consumer of a priority. */
  readonly openDispatcher: (priority: number) => Promise<Dispatcher>;
  readonly log: Logger;
}

/** No lane yet. */
export function createLanes({ present, openDispatcher, log }: LanesOptions): Lanes {
  const opening = new Map<number, Promise<void>>();
  const open: Lane[] = [];
  const listeners = new Set<(lane: Lane) => void>();
  let looking: Promise<void> | undefined;
  let disposed = false;

  async function openLane(priority: number): Promise<void> {
    const dispatcher = await openDispatcher(priority);
    if (disposed) return dispatcher[Symbol.dispose]();
    const lane = { priority, dispatcher };
    open.push(lane);
    for (const found of listeners) found(lane);
  }

  function ensureLane(priority: number): Promise<void> {
    const known = opening.get(priority);
    if (known) return known;
    const mine = openLane(priority);
    opening.set(priority, mine);
    mine.catch(() => opening.delete(priority));
    return mine;
  }

  async function look(): Promise<void> {
    const others = present().then((found) => Promise.all(found.map(ensureLane)));
    await Promise.all([ensureLane(usualPriority), others]);
  }

  function ready(): Promise<void> {
    if (looking) return looking;
    const mine = look();
    looking = mine;
    mine.catch(() => {
      looking = undefined;
    });
    return mine;
  }

  function tryReady(): void {
    ready().catch((error: unknown) =>
      log.warn({ err: error }, "lanes can not be looked for, the next claim tries again"),
    );
  }

  return {
    ready,
    open,
    learn(priority) {
      if (opening.has(priority)) return;
      ensureLane(priority).catch(() => {
        looking = undefined;
        tryReady();
      });
    },
    onOpened(found) {
      listeners.add(found);
      return () => void listeners.delete(found);
    },
    reset() {
      for (const { dispatcher } of open) dispatcher.reset();
      looking = undefined;
      tryReady();
    },
    [Symbol.dispose]: () => {
      disposed = true;
      for (const { dispatcher } of open) dispatcher[Symbol.dispose]();
    },
  };
}
