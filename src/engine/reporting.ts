import type { MessageInitShape } from "@bufbuild/protobuf";
import type { WorkerSchema } from "../../gen/signalbox/v1/worker_pb.ts";
import { pause } from "../client/backoff.ts";
import type { Engine } from "./lease.ts";
import type { WorkerLog } from "./log.ts";

/** What a worker reports itself with. */
export interface ReportingOptions {
  readonly engine: Pick<Engine, "reportWorker">;
  /** The worker as it is now. */
  readonly describe: () => MessageInitShape<typeof WorkerSchema>;
  readonly log: WorkerLog;
}

/** A worker that reports itself, every 15 s and after changes. */
export interface Reporting extends Disposable {
  /** Something has changed: it is reported at once, though no more than once a second. */
  changed(): void;
}

const intervalMs = 15_000;
const minPauseMs = 1_000;
const timeoutMs = 5_000;

/** Begins to report. That a report does not get through is a line in the log and nothing else: work goes on without. */
export function startReporting({ engine, describe, log }: ReportingOptions): Reporting {
  const ending = new AbortController();
  const { signal } = ending;
  let news = false;
  let waking = new AbortController();

  async function report(): Promise<void> {
    try {
      await engine.reportWorker({ worker: describe() }, { signal, timeoutMs });
    } catch (err) {
      if (!signal.aborted) log.debug({ err }, "worker could not report itself");
    }
  }

  async function reportOn(): Promise<void> {
    while (!signal.aborted) {
      news = false;
      await report();
      await pause(minPauseMs, signal);
      if (news) continue;
      waking = new AbortController();
      await pause(intervalMs - minPauseMs, AbortSignal.any([signal, waking.signal]));
    }
  }

  void reportOn();
  return {
    changed() {
      news = true;
      waking.abort();
    },
    [Symbol.dispose]: () => ending.abort(),
  };
}
