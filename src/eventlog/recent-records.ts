import type { EventRecord } from "./record.ts";

/** How much of the log's end is kept in memory for those who are only a little behind. */
const keepRecords = 2_000;
const keepBytes = 8 * 1024 * 1024;

/** The newest records of the log without gap. */
export interface RecentRecords {
  /** The newest position seen. */
  readonly head: bigint;
  /** Takes the record that follows on `head`. */
  add(record: EventRecord): void;
  /** Up to `limit` records right after a position; undefined when they do not reach back that far. */
  following(after: bigint, limit: number): readonly EventRecord[] | undefined;
}

/** Nothing yet, behind `head`. */
export function createRecentRecords(head: bigint): RecentRecords {
  let records: EventRecord[] = [];
  let bytes = 0;
  let newest = head;

  /** Cuts in large pieces: shifting one by one would move the whole array each time. */
  function trim(): void {
    if (records.length <= keepRecords * 2 && bytes <= keepBytes * 2) return;
    let first = records.length;
    let kept = 0;
    while (first > 0 && records.length - first < keepRecords && kept < keepBytes) {
      first--;
      kept += records[first]?.body.length ?? 0;
    }
    records = records.slice(first);
    bytes = kept;
  }

  return {
    get head() {
      return newest;
    },
    add(record) {
      records.push(record);
      bytes += record.body.length;
      newest = record.position;
      trim();
    },
    following(after, limit) {
      const first = records[0]?.position;
      if (first === undefined || after + 1n < first) return undefined;
      const start = Number(after + 1n - first);
      return records.slice(start, start + limit);
    },
  };
}
