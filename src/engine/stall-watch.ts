/** Notices that a transfer stands still. */
export interface StallWatch extends Disposable {
  /** Aborts when it was the other side's turn for too long, or when `signal` does. */
  or(signal: AbortSignal | undefined): AbortSignal;
  /** It is the other side's turn, from now on. */
  await(): void;
  /** It is our own turn, which may take as long as it likes. */
  rest(): void;
}

/** Waits for the other side for up to `patienceMs` at a time, from the start. */
export function createStallWatch(patienceMs: number): StallWatch {
  const stalled = new AbortController();
  let timer: NodeJS.Timeout | undefined;

  function rest(): void {
    clearTimeout(timer);
  }

  function restart(): void {
    rest();
    timer = setTimeout(() => stalled.abort(), patienceMs);
  }

  restart();
  return {
    or: (signal) => (signal === undefined ? stalled.signal : AbortSignal.any([signal, stalled.signal])),
    await: restart,
    rest,
    [Symbol.dispose]: rest,
  };
}
