/** What a watch over an event loop notices. */
export type Blocked =
  /** It has held still long enough for people to be told. */
  | { readonly state: "blocked"; readonly blockedMs: number }
  /** It has held still for longer than it may. */
  | { readonly state: "given up"; readonly blockedMs: number };

/** Watches an event loop by the count that it keeps. */
export interface BlockWatch {
  /** What is new since the last look; undefined when nothing is. */
  look(count: number, nowMs: number): Blocked | undefined;
  /** It has shown by other means that it turns. */
  seen(nowMs: number): void;
}

/** How long an event loop may hold still before people are told. */
const toldMs = 5_000;

/**
 * Creates a watch that is to look every `everyMs`. Looks that come late mean that this side was held up as well, a
 * suspended process for example: that time does not count.
 */
export function createBlockWatch(everyMs: number, maxBlockedMs: number): BlockWatch {
  let lastCount = 0;
  let turnedMs = 0;
  let lookedMs = 0;
  let noticed: Blocked["state"] | undefined;

  function turned(nowMs: number): void {
    turnedMs = nowMs;
    lookedMs = nowMs;
    noticed = undefined;
  }

  return {
    seen: turned,
    look(count, nowMs) {
      if (count !== lastCount) {
        lastCount = count;
        turned(nowMs);
        return undefined;
      }
      const lateMs = nowMs - lookedMs - everyMs;
      lookedMs = nowMs;
      if (lateMs > everyMs) turnedMs += lateMs;
      const blockedMs = nowMs - turnedMs;
      if (blockedMs > maxBlockedMs && noticed !== "given up") {
        noticed = "given up";
        return { state: noticed, blockedMs };
      }
      if (blockedMs > toldMs && noticed === undefined) {
        noticed = "blocked";
        return { state: noticed, blockedMs };
      }
      return undefined;
    },
  };
}
