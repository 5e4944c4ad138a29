import { setImmediate } from "node:timers/promises";

/** Tells whether anything is under way that will go on by itself. */
export interface Activity {
  /** Something is under way until the function that is returned is called. */
  begin(): () => void;
  /** The same for as long as `fn` takes. */
  during<T>(fn: () => T | Promise<T>): Promise<T>;
  /** Looks again whether all is quiet: what can be done then has changed. */
  look(): void;
}

/**
 * Starts quiet. Calls `onQuiet` each time that nothing has been under way for a turn of the event loop, in which code that
 * waited for an answer went on to its next command.
 */
export function createActivity(onQuiet: () => void): Activity {
  let count = 0;
  let looking = false;

  async function look(): Promise<void> {
    if (looking || count > 0) return;
    looking = true;
    await setImmediate();
    looking = false;
    if (count === 0) onQuiet();
  }

  function begin(): () => void {
    count++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      count--;
      void look();
    };
  }

  return {
    begin,
    async during(fn) {
      const end = begin();
      try {
        return await fn();
      } finally {
        end();
      }
    },
    look: () => void look(),
  };
}
