/** npm and the terminal both pass a Ctrl-C on: two within this time are one. */
const sameInterruptMs = 750;

/** Requests to stop. Disposing it leaves signals to their defaults again. */
export interface Interrupts extends Disposable {
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
}

/** Turns signals into an abort. A second one, after `onFirst` told people about it, ends the process at once. */
export function watchInterrupts(onFirst: () => void): Interrupts {
  const controller = new AbortController();
  let firstMs = 0;

  function interrupt(signal: NodeJS.Signals): void {
    if (!controller.signal.aborted) {
      firstMs = performance.now();
      controller.abort();
      onFirst();
    } else if (performance.now() - firstMs > sameInterruptMs) {
      dispose();
      process.kill(process.pid, signal);
    }
  }

  function dispose(): void {
    for (const name of signals) process.off(name, interrupt);
  }

  for (const name of signals) process.on(name, interrupt);
  return { signal: controller.signal, [Symbol.dispose]: dispose };
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
