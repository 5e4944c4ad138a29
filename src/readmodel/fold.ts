import type { EventRecord } from "../eventlog/record.ts";
import type { Progress } from "./upkeep.ts";

/** One batch at most: what one transaction writes and one process holds. */
const batchRecords = 500;
const batchBytes = 8 * 1024 * 1024;

/** A part of the log to fold. */
export interface FoldOptions {
  /** The records, in order. */
  readonly records: AsyncIterable<EventRecord>;
  /** Where the records end; for `onProgress`. */
  readonly head: bigint;
  readonly apply: (records: readonly EventRecord[]) => Promise<void>;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Hands the records over in batches, each after the one before was applied. */
export async function fold({ records, head, apply, onProgress }: FoldOptions): Promise<void> {
  for await (const batch of batches(records)) {
    await apply(batch);
    onProgress?.({ position: batch.at(-1)?.position ?? 0n, head });
  }
}

async function* batches(records: AsyncIterable<EventRecord>): AsyncGenerator<EventRecord[]> {
  let batch: EventRecord[] = [];
  let bytes = 0;
  for await (const record of records) {
    batch.push(record);
    bytes += record.body.length;
    if (batch.length < batchRecords && bytes < batchBytes) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
