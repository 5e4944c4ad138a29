/** Pauses that grow from one failure to the next. */
export interface Backoff {
  /** How long to wait now, in milliseconds: twice the last pause, up to the cap, less up to half of it by chance. */
  next(): number;
  /** Starts again from the first pause. */
  reset(): void;
}

/** Creates pauses from `initialMs` to `maxMs`; the chance in them keeps clients from coming back all at once. */
export function createBackoff(initialMs: number, maxMs: number): Backoff {
  let pauseMs = initialMs;
  return {
    next() {
      const fullMs = pauseMs;
      pauseMs = Math.min(pauseMs * 2, maxMs);
      return fullMs * (1 - chance() / 2);
    },
    reset() {
      pauseMs = initialMs;
    },
  };
}

/** From 0 to 1; the source that browsers have too. */
function chance(): number {
  const [number = 0] = crypto.getRandomValues(new Uint32Array(1));
  return number / 2 ** 32;
}

/** Resolves after `ms` milliseconds, or as soon as the signal aborts. Never rejects; callers look at the signal. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
