import { setImmediate } from "node:timers/promises";

/**
 * Runs `fn` with a setTimeout that waits for nothing: when everything stands still, the timer that is due first fires. So
 * a history of pauses and time-outs takes no time, and is the same each time. `fn` is given a clock of that time, in
 * milliseconds from 0.
 * @throws an error when `fn` waits for something that no timer will bring.
 */
export async function inVirtualTime<T>(fn: (nowMs: () => number) => Promise<T>): Promise<T> {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  const timers = new Map<number, { readonly due: number; readonly fire: () => void }>();
  let nowMs = 0;
  let created = 0;
  const fakes = {
    setTimeout(fire: () => void, ms = 0): number {
      timers.set(++created, { due: nowMs + ms, fire });
      return created;
    },
    clearTimeout(timer: number): void {
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
      await setImmediate();
      if (settled) return await result;
      // Timers that are due at the same time fire in the order in which they were made.
      const [next] = [...timers].toSorted(([a, first], [b, second]) => first.due - second.due || a - b);
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
