// A worker with the built-in handlers that writes every call to a history file. Runs until it is killed.
import { builtInHandlers } from "../../../src/engine/handlers.ts";
import { createWorker } from "../../../src/engine/worker.ts";
import { openRecordedClient } from "../../support/recorded-client.ts";

const { SIGNALBOX_URL = "", HISTORY_FILE = "", WORKER_NAME = "" } = process.env;
const caller = `${WORKER_NAME}-${process.pid}`;
using client = openRecordedClient(SIGNALBOX_URL, caller, HISTORY_FILE);
await createWorker({ client, handlers: builtInHandlers, concurrency: 8, workerId: caller }).run();
