import type { DefinedHandler } from "./define-handler.ts";
import type { Handler } from "./handler.ts";

/** The handlers of a worker. */
export interface HandlerTable {
  /** Adds one. Throws a TypeError for a name that is taken or can not be one, a RangeError for the 101st. */
  add(name: string, handler: Handler | DefinedHandler): void;
  get(name: string): Handler | undefined;
  /** In the order in which they were added. */
  names(): string[];
  /** Those that say what they take and give, by name. */
  defined(): ReadonlyMap<string, DefinedHandler>;
}

const namePattern = /^[A-Za-z0-9_:-]{1,100}$/;
const maxHandlers = 100;

/** Starts empty. */
export function createHandlerTable(): HandlerTable {
  const handlers = new Map<string, Handler>();
  const defined = new Map<string, DefinedHandler>();
  return {
    add(name, handler) {
      if (!namePattern.test(name))
        throw new TypeError(`${JSON.stringify(name)} in handlers does not match ${namePattern.source}`);
      if (handlers.has(name)) throw new TypeError(`there are two handlers named ${name}; give one another name`);
      if (handlers.size >= maxHandlers) throw new RangeError(`a worker has at most ${maxHandlers} handlers`);
      if (typeof handler !== "function") defined.set(name, handler);
      handlers.set(name, typeof handler === "function" ? handler : handler.handle);
    },
    get: (name) => handlers.get(name),
    names: () => [...handlers.keys()],
    defined: () => defined,
  };
}
