import { setImmediate } from "node:timers/promises";
import type { Seeded } from "../../support/seeded.ts";

/** A process of a simulation: what it asks of the stores happens in the order that the turns say. */
export interface SimulatedProcess {
  readonly name: string;
  isDead: boolean;
}

/** Something that a process is at. */
export interface Work {
  readonly process: SimulatedProcess;
  /** Never settles when its process dies. */
  readonly done: Promise<unknown>;
}

/** Lets processes ask stores in an order that a seed decides, one request at a time. */
export interface Turns {
  /** The same store as the process has it. Each of its methods waits for its turn; `effects` are those that change something. */
  wrap<T extends object>(process: SimulatedProcess, target: T, effects: readonly (keyof T)[]): T;
  /** Gives turns until all work is done or its process dead. Kills one process after that many turns, if there are so many. */
  run(work: readonly Work[], killAfter?: number): Promise<void>;
}

interface Pending {
  readonly process: SimulatedProcess;
  readonly isEffect: boolean;
  /** Does it; the process hears of it when it is `answered`. */
  readonly act: (answered: boolean) => void;
}

/** Turns that a seed decides. */
export function createTurns(random: Seeded): Turns {
  let pending: Pending[] = [];

  function ask(process: SimulatedProcess, isEffect: boolean, work: () => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (process.isDead) return;
      const act = (answered: boolean) => {
        const result = Promise.resolve().then(work);
        const isHeard = () => answered && !process.isDead;
        result.then(
          (value) => void (isHeard() && resolve(value)),
          (error: unknown) => void (isHeard() && reject(error as Error)),
        );
      };
      pending.push({ process, isEffect, act });
    });
  }

  async function* askForEach(process: SimulatedProcess, items: AsyncIterable<unknown>): AsyncGenerator {
    const source = items[Symbol.asyncIterator]();
    for (;;) {
      const next = (await ask(process, false, () => source.next())) as IteratorResult<unknown>;
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** What the victim has asked for last happens or not; it does not hear of it. */
  function kill(victim: SimulatedProcess): void {
    victim.isDead = true;
    const last = pending.filter(({ process }) => process === victim);
    pending = pending.filter(({ process }) => process !== victim);
    for (const { isEffect, act } of last) if (isEffect && random.oneIn(2)) act(false);
  }

  return {
    wrap: (process, target, effects) =>
      new Proxy(target, {
        get(object, property) {
          const value: unknown = Reflect.get(object, property);
          if (typeof value !== "function") return value;
          const call = (args: unknown[]): unknown => Reflect.apply(value, object, args);
          if (iterating.has(String(property))) return (...args: unknown[]) => askForEach(process, call(args) as never);
          const isEffect = effects.some((effect) => effect === property);
          return (...args: unknown[]) => ask(process, isEffect, () => call(args));
        },
      }),
    async run(work, killAfter = Infinity) {
      const open = new Set(work);
      for (const each of work) {
        const close = () => void open.delete(each);
        each.done.then(close, close);
      }
      const isOpen = () => [...open].some(({ process }) => !process.isDead);
      for (let turn = 0; ;) {
        await setImmediate();
        if (!isOpen()) break;
        const at = pending.length === 0 ? -1 : random.below(pending.length);
        const [next] = pending.splice(at, at < 0 ? 0 : 1);
        if (next === undefined) continue;
        if (turn++ === killAfter) {
          pending.push(next);
          kill(next.process);
        } else next.act(true);
      }
      // What a dead process had under way ends here, heard by nobody.
      await setImmediate();
    },
  };
}

const iterating: ReadonlySet<string> = new Set(["read", "list", "entries"]);
