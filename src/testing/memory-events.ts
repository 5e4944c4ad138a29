import type { EventLog } from "../eventlog/event-log.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Events } from "../events/events.ts";
import { keeps, readFilter } from "../events/filter.ts";
import { readPage } from "../readmodel/page.ts";
import type { MemoryLists } from "./memory-lists.ts";

/** ListEvents straight from the log, where production asks the tables. */
export function listFromLog(log: EventLog, lists: MemoryLists): Events["list"] {
  return async (call, request) => {
    const selection = readFilter(call.workspaceId, request.filter);
    const { size } = readPage("events", [], request.pageSize, "");
    const { head } = await log.bounds();
    const records: EventRecord[] = [];
    let isWhole = true;
    for await (const record of log.read(log.subjects.view(selection.view), request.afterPosition, head)) {
      if (!keeps(selection, record.event)) continue;
      isWhole = records.length < size;
      if (!isWhole) break;
      records.push(record);
    }
    const hasEnded = selection.runId !== undefined && lists.run(selection.runId)?.endTime !== undefined;
    return {
      records,
      nextPosition: records.at(-1)?.position ?? request.afterPosition,
      complete: isWhole && hasEnded,
    };
  };
}
