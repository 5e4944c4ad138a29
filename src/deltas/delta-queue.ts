import type { RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import { deltaKey, joinDeltas } from "./join.ts";

/** What waits for one subscriber: the bound of its memory. */
const defaultMaxBytes = 256 * 1024;
/** Every piece costs this much beside its content, in bytes. */
const entryOverheadBytes = 256;

/** Output that waits for one subscriber. */
export interface DeltaQueue {
  /** Takes a piece of `sizeBytes`. Joins it to the piece that it follows on, if that still waits; drops the oldest when there is too much. */
  push(piece: RunDelta, sizeBytes: number): void;
  /** Hands out the oldest piece; undefined when none waits. */
  take(): RunDelta | undefined;
  /** How many pieces wait. */
  readonly length: number;
}

interface Entry {
  readonly key: string;
  piece: RunDelta;
  sizeBytes: number;
}

/** An empty queue of at most `maxBytes`, default 256 KiB; a single larger piece still fits. */
export function createDeltaQueue(maxBytes: number = defaultMaxBytes): DeltaQueue {
  const entries: Entry[] = [];
  // Steps run side by side, so the piece to join to need not be the last one.
  const newest = new Map<string, Entry>();
  let totalBytes = 0;

  function shift(): Entry | undefined {
    const entry = entries.shift();
    if (entry === undefined) return undefined;
    totalBytes -= entry.sizeBytes;
    if (newest.get(entry.key) === entry) newest.delete(entry.key);
    return entry;
  }

  return {
    get length() {
      return entries.length;
    },
    push(piece, sizeBytes) {
      const key = deltaKey(piece);
      const last = newest.get(key);
      const joined = joinDeltas(last?.piece, piece);
      if (last !== undefined && joined !== undefined) {
        last.piece = joined;
        last.sizeBytes += sizeBytes;
        totalBytes += sizeBytes;
      } else {
        const entry = { key, piece, sizeBytes: sizeBytes + entryOverheadBytes };
        entries.push(entry);
        newest.set(key, entry);
        totalBytes += entry.sizeBytes;
      }
      while (totalBytes > maxBytes && entries.length > 1) shift();
    },
    take: () => shift()?.piece,
  };
}
