/** A process that dies at a given effect: the effect happens or not, and nothing after it does. */
export interface Dying {
  /** The same object; each of the named methods is an effect. */
  wrap<T extends object>(name: string, target: T, effects: readonly (keyof T)[]): T;
  /** The effects that happened so far, in order, as `blobs.put`. */
  readonly trace: readonly string[];
}

/** What a dead process throws, whatever it is asked. */
class Death extends Error {
  override readonly name = "Death";
}

/** Dies before or after the `at`-th effect, counted from 0; never when it is undefined. */
export function createDying(at?: number, moment: "before" | "after" = "before"): Dying {
  const trace: string[] = [];
  let dead = false;

  async function perform(name: string, isEffect: boolean, work: () => unknown): Promise<unknown> {
    if (dead) throw new Death(name);
    if (!isEffect) return work();
    const isLast = trace.length === at;
    if (isLast) dead = true;
    if (isLast && moment === "before") throw new Death(name);
    trace.push(name);
    const result = await work();
    if (isLast) throw new Death(name);
    return result;
  }

  return {
    trace,
    wrap: (name, target, effects) =>
      new Proxy(target, {
        get(object, property) {
          const value: unknown = Reflect.get(object, property);
          if (typeof value !== "function" || property === "read" || property === "list") return value;
          const isEffect = effects.some((effect) => effect === property);
          return (...args: unknown[]) =>
            perform(`${name}.${String(property)}`, isEffect, () => Reflect.apply(value, object, args));
        },
      }),
  };
}
