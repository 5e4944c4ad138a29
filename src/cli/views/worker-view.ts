import { type Worker, WorkerStatusSchema } from "../../../gen/signalbox/v1/worker_pb.ts";
import { enumName } from "../../kernel/enum-name.ts";
import { table } from "./table.ts";
import { shorten, timeText } from "./values.ts";

/** Workers below each other, one line each. */
export function workerTable(workers: readonly Worker[]): string {
  return table(
    ["WORKER", "STATUS", "BUSY", "QUEUES", "HANDLERS", "HOST", "PID", "VERSION", "STARTED", "SEEN"],
    workers.map((worker) => [
      shorten(worker.workerId, 60),
      enumName(WorkerStatusSchema, worker.status),
      `${worker.busy}/${worker.concurrency}`,
      shorten(worker.queues.join(","), 30),
      shorten(worker.handlers.join(","), 40),
      shorten(worker.host, 30),
      String(worker.pid),
      shorten(worker.version, 20),
      timeText(worker.startTime),
      timeText(worker.lastSeenTime),
    ]),
  );
}
