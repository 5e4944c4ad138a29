/** What a process holds in memory, in bytes. */
export interface Memory {
  /** What the machine gives it: the heap, buffers, code, and what V8 keeps in reserve. */
  readonly residentBytes: number;
  /** What is in use on the JavaScript heap and in the buffers that belong to it. */
  readonly usedBytes: number;
}

/** The memory of this process after a collection. Needs `--expose-gc`. */
export async function measureMemory(): Promise<Memory> {
  if (globalThis.gc === undefined) throw new Error("start this process with --expose-gc");
  // The second one takes what finalizers of the first let go.
  for (let i = 0; i < 2; i++) await globalThis.gc({ execution: "async", type: "major" });
  const { rss, heapUsed, external } = process.memoryUsage();
  return { residentBytes: rss, usedBytes: heapUsed + external };
}

/** An eye on the memory of this process. */
export interface MemoryWatch {
  /** Ends it. Returns the most that was resident, in bytes. */
  stop(): number;
}

/** How often a watch looks. */
const lookMs = 5;

/** Watches what this process has resident from now on. */
export function watchMemory(): MemoryWatch {
  let peak = 0;
  const look = () => void (peak = Math.max(peak, process.memoryUsage.rss()));
  look();
  const timer = setInterval(look, lookMs);
  return {
    stop() {
      look();
      clearInterval(timer);
      return peak;
    },
  };
}
