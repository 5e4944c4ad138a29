import { setImmediate } from "node:timers/promises";

/** What the history is made of. */
export interface VirtualTimeOptions {
  /** How many turns of the event loop everything has to stand still before time goes on, default 1. */
  readonly turns?: number;
}

/**
 * Runs `fn` with a setTimeout that waits for nothing: when everything stands still, the timer that is due first fires. So
 * a history of pauses and time-outs takes no time, and is the same each time. `fn` is given a clock of that time, in
 * milliseconds from 0.
 * @throws an error when `fn` waits for something that no timer will bring.
 */
export async function inVirtualTime<T>(
  fn: (nowMs: () => number) => Promise<T>,
  { turns = 1 }: VirtualTimeOptions = {},
): Promise<T> {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  const timers = new Map<object, { readonly due: number; readonly made: number; readonly fire: () => void }>();
  let nowMs = 0;
  let created = 0;
  const fakes = {
    setTimeout(fire: () => void, ms = 0): object {
      const timer = { ref: () => timer, unref: () => timer };
      timers.set(timer, { due: nowMs + Math.max(ms, 0), made: ++created, fire });
      return timer;
    },
    clearTimeout(timer: object): void {
      timers.delete(timer);
    },
  };
  Object.assign(globalThis, fakes);
  try {
    let settled = false;
    const result = fn(() => nowMs).finally(() => (settled = true));
    result.catch(() => undefined);
    for (;;) {
      // Comes after every promise that can settle by itself.
      for (let turn = 0; turn < turns; turn++) await setImmediate();
      if (settled) return await result;
      // Timers that are due at the same time fire in the order in which they were made.
      const [next] = [...timers].toSorted(([, a], [, b]) => a.due - b.due || a.made - b.made);
      if (next === undefined) throw new Error("nothing is left that could happen");
      const [timer, { due, fire }] = next;
      timers.delete(timer);
      nowMs = due;
      fire();
    }
  } finally {
    Object.assign(globalThis, real);
  }
}
