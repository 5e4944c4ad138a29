import type { Queue } from "../../../gen/signalbox/v1/queue_pb.ts";
import { spanText } from "./limits.ts";
import { fields, table } from "./table.ts";
import { timeText } from "./values.ts";

/** Queues below each other, one line each. */
export function queueTable(queues: readonly Queue[]): string {
  return table(
    ["QUEUE", "QUEUED", "RUNNING", "AT MOST", "PER KEY", "RATE", "HELD"],
    queues.map((queue) => [
      queue.name,
      String(queue.queuedRuns),
      String(queue.runningRuns),
      limitText(queue.maxRunning),
      limitText(queue.maxRunningPerKey),
      rateText(queue),
      queue.held ? "held" : "",
    ]),
  );
}

/** Everything that people want to know about a queue. Its numbers are left out where there are none. */
export function queueView(queue: Queue): string {
  return fields([
    ["queue", queue.name],
    ["held", queue.held ? "yes: new runs stay in it" : "no"],
    ["at most", limitText(queue.maxRunning)],
    ["per key", limitText(queue.maxRunningPerKey)],
    ["rate", rateText(queue)],
    ["queued", numberText(queue.queuedRuns)],
    ["running", numberText(queue.runningRuns)],
    ["etag", queue.etag],
    ["changed", timeText(queue.updateTime)],
  ]);
}

function limitText(limit: number): string {
  return limit === 0 ? "" : String(limit);
}

function numberText(number: bigint): string {
  return number === 0n ? "" : String(number);
}

function rateText({ rateLimit }: Queue): string {
  if (rateLimit?.period === undefined) return "";
  return `${rateLimit.runs} in ${spanText(rateLimit.period)}`;
}
