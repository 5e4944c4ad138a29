import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import type { Deltas } from "../deltas/deltas.ts";
import { toRunDeltas } from "../deltas/join.ts";

/** Live output that is kept, so that a test can look at it. */
export interface MemoryDeltas extends Deltas {
  /** What a run has shown so far, in order. */
  of(runId: string): readonly RunDelta[];
}

/** No output yet. Nobody is shown it while it is made: tests look afterwards. */
export function createMemoryDeltas(): MemoryDeltas {
  const all: RunDelta[] = [];
  return {
    publish: (run, deltas) => void all.push(...toRunDeltas(run, deltas)),
    subscribe: () => ({ take: () => undefined, length: 0, [Symbol.dispose]: () => {} }),
    of: (runId) => all.filter((delta) => delta.runId === runId),
    [Symbol.asyncDispose]: async () => {},
  };
}
