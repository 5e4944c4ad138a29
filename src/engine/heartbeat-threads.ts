import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { type FromThread, type ThreadData, tickMs, type ToThread } from "./heartbeat-messages.ts";
import type { Heartbeats, Kept, KeptLease } from "./heartbeats.ts";
import type { WorkerLog } from "./log.ts";

/** What a heartbeat thread is started with, when it is. */
export interface HeartbeatThreadOptions extends Omit<ThreadData, "port" | "tick"> {
  /** Who sends the heartbeats when the thread has died. */
  readonly instead: Heartbeats;
  readonly log: WorkerLog;
}

/** A thread that was started. */
interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly count: Int32Array;
}

/** A lease that is kept; by `instead` once the thread has died. */
interface Held {
  readonly lease: KeptLease;
  instead?: Kept;
}

/** More than a thousand leases take. */
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16 };

/**
 * Sends heartbeats from a thread of its own, over a connection of its own, so that a handler that blocks the event loop
 * keeps its run: people are told after 5 s, and after `maxBlockedMs` the leases are left to lapse. Starts it with the first
 * lease. Does not keep the process alive.
 */
export function createHeartbeatThread({ instead, log, ...data }: HeartbeatThreadOptions): Heartbeats {
  const held = new Map<number, Held>();
  let lastId = 0;
  let thread: Thread | undefined;
  let died = false;
  let ticking: NodeJS.Timeout | undefined;

  function start(): Thread {
    const { port1: port, port2 } = new MessageChannel();
    const tick = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const workerData: ThreadData = { ...data, port: port2, tick };
    const script = new URL("./heartbeat-thread.ts", import.meta.url);
    const worker = new Worker(script, { workerData, transferList: [port2], name: "heartbeats", resourceLimits });
    worker.on("error", onDeath);
    worker.unref();
    port.on("message", onMessage);
    port.unref();
    return { worker, port, count: new Int32Array(tick) };
  }

  function onDeath(err: unknown): void {
    log.error({ err }, "heartbeat thread died; heartbeats go on from the main thread");
    died = true;
    stopTicking();
    for (const each of held.values()) each.instead = instead.keep(each.lease);
  }

  function onMessage(message: FromThread): void {
    const lease = message.id === undefined ? undefined : held.get(message.id)?.lease;
    if (message.type === "line") return (lease?.log ?? log)[message.level](message.fields, message.message);
    if (message.type === "pause") return lease?.onPause();
    if (held.delete(message.id)) lease?.onEnd(message.why);
    if (held.size === 0) stopTicking();
  }

  /** Hears at once what the thread has said while the event loop stood still. */
  function look(): void {
    if (thread === undefined) return;
    for (;;) {
      const received = receiveMessageOnPort(thread.port);
      if (received === undefined) return;
      onMessage(received.message as FromThread);
    }
  }

  function startTicking({ count }: Thread): void {
    ticking ??= setInterval(() => Atomics.add(count, 0, 1), tickMs).unref();
  }

  function stopTicking(): void {
    clearInterval(ticking);
    ticking = undefined;
  }

  function tell(message: ToThread): void {
    const { port } = thread ?? {};
    port?.postMessage(message);
  }

  function end(id: number): void {
    const each = held.get(id);
    if (each === undefined) return;
    held.delete(id);
    each.instead?.end();
    tell({ type: "end", id });
    if (held.size === 0) stopTicking();
  }

  return {
    keep(lease) {
      if (died) return instead.keep(lease);
      thread ??= start();
      const id = ++lastId;
      const { runId, leaseToken, ttlMs } = lease;
      held.set(id, { lease });
      tell({ type: "keep", id, runId, leaseToken, ttlMs });
      startTicking(thread);
      return { look, end: () => end(id) };
    },
    async [Symbol.asyncDispose]() {
      stopTicking();
      for (const id of held.keys()) end(id);
      thread?.port.close();
      await thread?.worker.terminate();
      thread = undefined;
    },
  };
}
