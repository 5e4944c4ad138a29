// A worker that writes every call to a history file. Runs until it is killed.
import { builtInHandlers } from "../../../src/engine/handlers.ts";
import { createWorker, type Handler } from "../../../src/engine/worker.ts";
import { openRecordedClient } from "../../support/recorded-client.ts";
import { narrowQueue } from "./new-run.ts";

/** Takes {"failures": …} and fails on as many claims. */
const stumble: Handler = ({ attempt }, input) => {
  const { failures } = input as { failures: number };
  if (attempt <= failures) throw new Error(`failure ${attempt} of ${failures}, as asked`);
  return { attempts: attempt };
};

const { SIGNALBOX_URL = "", HISTORY_FILE = "", WORKER_NAME = "" } = process.env;
const caller = `${WORKER_NAME}-${process.pid}`;
using client = openRecordedClient(SIGNALBOX_URL, caller, HISTORY_FILE);
await createWorker({
  client,
  handlers: { ...builtInHandlers, stumble },
  queues: ["default", narrowQueue.name],
  concurrency: 8,
  workerId: caller,
  // So that runs are suspended whose tests have no time to sleep.
  longestHeldSleepMs: 50,
}).run();
