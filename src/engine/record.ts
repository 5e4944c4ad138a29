import type { ClaimRunResponse } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type EndedEntry, type Entry, entryOfStep, entryOfToolCall } from "./entry.ts";

/** What earlier attempts left on record, as a replay needs it. */
export interface RunRecord {
  /** What was asked for at a place; undefined when nothing was recorded there. */
  at(sequence: number): Entry | undefined;
  /** Everything on record, by place. */
  readonly entries: readonly Entry[];
  /** What has ended for good, in the order of the ends. */
  readonly ended: readonly EndedEntry[];
}

/**
 * Reads what came with a claim. Of failures, those are for good that are not retryable, and those that the handler lived
 * with: it asked for something else afterwards. All others are worth another try. What was recorded by a worker that does
 * not count is left out: the server answers it by its key.
 */
export function readRecord({ recordedSteps, recordedToolCalls }: RecordedWork): RunRecord {
  const entries = [...recordedSteps.map(entryOfStep), ...recordedToolCalls.map(entryOfToolCall)]
    .filter(({ command }) => command.sequence > 0)
    .toSorted((a, b) => a.command.sequence - b.command.sequence);
  const bySequence = new Map<number, Entry>();
  let lastAsk = 0n;
  for (const entry of entries.toReversed()) {
    bySequence.set(entry.command.sequence, isFinal(entry, lastAsk) ? entry : { ...entry, end: undefined });
    if (entry.askPosition > lastAsk) lastAsk = entry.askPosition;
  }
  const read = [...bySequence.values()].toReversed();
  return {
    at: (sequence) => bySequence.get(sequence),
    entries: read,
    ended: read.filter(hasEnded).toSorted((a, b) => (a.end.position < b.end.position ? -1 : 1)),
  };
}

type RecordedWork = Pick<ClaimRunResponse, "recordedSteps" | "recordedToolCalls">;

/** `lastAsk` is where the last of the commands behind it was first asked for, 0 when there are none. */
function isFinal({ end }: Entry, lastAsk: bigint): boolean {
  if (end === undefined || end.outcome.ok) return true;
  return !end.outcome.error.retryable || lastAsk > end.position;
}

function hasEnded(entry: Entry): entry is EndedEntry {
  return entry.end !== undefined;
}
