import type { EventRecord } from "./record.ts";
import { subjectMatches } from "./subjects.ts";

/** How much of the log's end is kept in memory for those who are only a little behind. */
const keepRecords = 2_000;
const keepBytes = 8 * 1024 * 1024;

/** The newest records of the log without gap. */
export interface RecentRecords {
  /** The newest position seen. */
  readonly head: bigint;
  /** Takes the record that follows on `head`. */
  add(record: EventRecord): void;
  /** The records of a filter with `after < position <= upTo`; undefined when they do not reach back that far. */
  read(filter: string, after: bigint, upTo: bigint): AsyncGenerator<EventRecord> | undefined;
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

  async function* select(from: readonly EventRecord[], filter: string): AsyncGenerator<EventRecord> {
    for (const record of from) if (subjectMatches(filter, record.subject)) yield record;
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
    read(filter, after, upTo) {
      const first = records[0]?.position;
      if (first === undefined || after + 1n < first) return undefined;
      const start = Number(after + 1n - first);
      return select(records.slice(start, start + Number(upTo - after)), filter);
    },
  };
}
