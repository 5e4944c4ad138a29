import type { Delivery } from "./dispatcher.ts";
import type { Lane, Lanes } from "./lanes.ts";

/**
 * The next job of any of the routes, of the highest priority that waits; undefined when `maxWaitMs` passed or the signal
 * aborted. As long as there is one priority only, it is waited for right away.
 */
export async function nextJob(
  routes: readonly Lanes[],
  maxWaitMs: number,
  signal: AbortSignal,
): Promise<Delivery | undefined> {
  const until = performance.now() + maxWaitMs;
  await Promise.all(routes.map((route) => route.ready()));
  const levels = byPriority(routes.flatMap(({ open }) => open));
  if (levels.length > 1) {
    for (const level of levels) {
      const delivery = await takeNow(level);
      if (delivery !== undefined || signal.aborted) return delivery;
    }
  }
  return waitFor(routes, Math.max(until - performance.now(), 0), signal);
}

/** Lanes of the same priority together, the highest first. */
function byPriority(lanes: readonly Lane[]): Lane[][] {
  const levels = Map.groupBy(lanes, ({ priority }) => priority);
  return [...levels].toSorted(([a], [b]) => b - a).map(([, level]) => level);
}

/** A job that is there already; what others give beside it goes straight back. */
async function takeNow(lanes: readonly Lane[]): Promise<Delivery | undefined> {
  const found = await Promise.all(
    lanes.map(async ({ dispatcher }) => ({ dispatcher, delivery: await dispatcher.takeNow() })),
  );
  const [first, ...others] = found.filter(({ delivery }) => delivery !== undefined);
  for (const { dispatcher, delivery } of others) if (delivery) dispatcher.giveBack(delivery);
  return first?.delivery;
}

/** Waits at all lanes at once, those that open meanwhile too; what arrives after the first goes straight back. */
function waitFor(routes: readonly Lanes[], maxWaitMs: number, signal: AbortSignal): Promise<Delivery | undefined> {
  return new Promise((resolve) => {
    const until = performance.now() + maxWaitMs;
    const leave: (() => void)[] = [];
    let settled = false;
    const settle = (delivery: Delivery | undefined) => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      for (const fn of leave) fn();
      resolve(delivery);
      return true;
    };
    const giveUp = () => void settle(undefined);
    const timer = setTimeout(giveUp, maxWaitMs);
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) return giveUp();
    const waitAt = ({ dispatcher }: Lane) => {
      if (!settled) leave.push(dispatcher.wait(until - performance.now(), settle));
    };
    for (const route of routes) {
      leave.push(route.onOpened(waitAt));
      for (const lane of route.open) waitAt(lane);
    }
  });
}
