// The thread that heartbeat-threads.ts starts. It shares nothing with the handlers but a counter and a port.

import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { createClient } from "@connectrpc/connect";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { identified } from "../client/identity.ts";
import { openNodeTransport } from "../client/node-transport.ts";
import { type Blocked, createBlockWatch } from "./block-watch.ts";
import { type FromThread, type ThreadData, tickMs, type ToThread } from "./heartbeat-messages.ts";
import { createHeartbeats, type Kept } from "./heartbeats.ts";
import type { WorkerLog } from "./log.ts";

interface Lease extends Kept {
  readonly id: number;
  readonly runId: string;
}

const stderrFd = 2;
const { port, tick, client: options, workerId, maxBlockedMs } = workerData as ThreadData;
// Not the whole client: with its other services this thread takes 44 MiB, without them 35.
const { transport } = openNodeTransport(options);
const heartbeats = createHeartbeats(
  createClient(EngineService, identified(transport, options, new AbortController().signal)),
);
const count = new Int32Array(tick);
const leases = new Map<number, Lease>();
const watch = createBlockWatch(tickMs, maxBlockedMs);

/** The log of a lease, which the main thread has. */
function logOf(id: number): WorkerLog {
  const write = (level: keyof WorkerLog) => (fields: object, message: string) =>
    tell({ type: "line", id, level, fields: copied(fields), message });
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function tell(message: FromThread): void {
  port.postMessage(message);
}

/** Without what an error carries beside its message: not everything goes from thread to thread. */
function copied(fields: { readonly err?: unknown }): object {
  const { err } = fields;
  return err instanceof Error ? { ...fields, err: new Error(err.message) } : fields;
}

function keep({ id, runId, leaseToken, ttlMs }: Extract<ToThread, { type: "keep" }>): void {
  watch.seen(performance.now());
  const kept = heartbeats.keep({
    runId,
    leaseToken,
    ttlMs,
    log: logOf(id),
    onEnd(why) {
      leases.delete(id);
      tell({ type: "ended", id, why });
    },
    onPause: () => tell({ type: "pause", id }),
  });
  leases.set(id, { id, runId, ...kept });
}

function end(id: number): void {
  leases.get(id)?.end();
  leases.delete(id);
}

/** The main thread can not write now, so this thread does: a line of JSON, in pino's shape. */
function writeLine(blocked: Blocked, runIds: readonly string[], message: string): void {
  const fields = { worker_id: workerId, run_ids: runIds, blocked_ms: Math.round(blocked.blockedMs) };
  const line = { level: 40, time: new Date(), ...fields, msg: message };
  try {
    writeSync(stderrFd, `${JSON.stringify(line)}\n`);
  } catch {
    // Nobody reads stderr, or not now; the worker's own log gets the same line later.
  }
  tell({ type: "line", id: undefined, level: "warn", fields, message });
}

function look(): void {
  if (leases.size === 0) return watch.seen(performance.now());
  const blocked = watch.look(Atomics.load(count, 0), performance.now());
  if (blocked === undefined) return;
  const held = [...leases.values()];
  const runIds = held.map(({ runId }) => runId);
  if (blocked.state === "blocked") {
    return writeLine(blocked, runIds, "a handler blocks the event loop; its worker's runs are kept for now");
  }
  for (const { id } of held) {
    end(id);
    tell({ type: "ended", id, why: "lease_lost" });
  }
  writeLine(blocked, runIds, "a handler blocks the event loop for too long; its worker's runs are left to others");
}

port.on("message", (message: ToThread) => {
  if (message.type === "keep") keep(message);
  else end(message.id);
});
setInterval(look, tickMs);
