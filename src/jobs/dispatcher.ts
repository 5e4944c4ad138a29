import { createInbox, type Msg } from "@nats-io/transport-node";
import type { Logger } from "pino";
import type { Nats } from "../eventlog/nats.ts";
import { decodeJob, type Job } from "./job.ts";

/** A job in somebody's hands. */
export interface Delivery {
  readonly job: Job;
  /** True when the broker had delivered it before. */
  readonly redelivered: boolean;
  /** Where extend, release and finish go. Any server may use it. */
  readonly ackSubject: string;
}

/** Those of this process who wait for the jobs of one route. */
export interface Dispatcher extends Disposable {
  /** Calls `take` with the next job for up to `maxWaitMs`; it answers whether it wants it. Returns the way to leave early. */
  wait(maxWaitMs: number, take: (delivery: Delivery) => boolean): () => void;
}

/** A pull is given up this long after the broker should have answered it. */
const pullGraceMs = 2_000;

interface Waiter {
  readonly take: (delivery: Delivery) => boolean;
  readonly deadline: number;
}

/**
 * Pulls exactly as many jobs as there are waiters. A waiter that leaves early leaves its pull behind; the next waiter
 * uses it, and a job that comes meanwhile goes back to its queue at once.
 */
export function createDispatcher({
  nats,
  stream,
  durable,
  log,
}: {
  nats: Nats;
  stream: string;
  durable: string;
  log: Logger;
}): Dispatcher {
  const { connection } = nats;
  const inbox = createInbox();
  const waiters = new Set<Waiter>();
  // One timer for each pull that the broker has not answered, by the inbox it answers to.
  const pulls = new Map<string, NodeJS.Timeout>();
  let pullCount = 0;

  function closePull(id: string): void {
    clearTimeout(pulls.get(id));
    pulls.delete(id);
  }

  function ensurePulls(): void {
    for (const { deadline } of [...waiters].slice(pulls.size)) {
      const leftMs = Math.max(1_000, Math.round(deadline - performance.now()));
      const id = `${inbox}.${++pullCount}`;
      pulls.set(
        id,
        setTimeout(() => {
          closePull(id);
          ensurePulls();
        }, leftMs + pullGraceMs),
      );
      connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`,
        JSON.stringify({ batch: 1, expires: leftMs * 1_000_000 }),
        { reply: id },
      );
    }
  }

  function onMessage(message: Msg): void {
    closePull(message.subject);
    const status = message.headers?.code;
    if (status) {
      // 408: nothing came in time. Anything else (consumer gone, leader changed) is worth a line, and another pull.
      if (status !== 408) log.warn({ durable, status, description: message.headers?.description }, "job pull ended");
      setTimeout(ensurePulls, status === 408 ? 0 : 250).unref();
      return;
    }
    const ackSubject = message.reply ?? "";
    const delivery = { job: decodeJob(message.string()), redelivered: isRedelivered(ackSubject), ackSubject };
    for (const waiter of waiters) {
      waiters.delete(waiter);
      if (waiter.take(delivery)) return;
    }
    connection.publish(ackSubject, "-NAK");
  }

  const subscription = connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error) log.warn({ err: error, durable }, "job inbox");
      else onMessage(message);
    },
  });

  return {
    wait(maxWaitMs, take) {
      const waiter = { take, deadline: performance.now() + maxWaitMs };
      waiters.add(waiter);
      ensurePulls();
      return () => void waiters.delete(waiter);
    },
    [Symbol.dispose]: () => {
      subscription.unsubscribe();
      for (const id of pulls.keys()) closePull(id);
    },
  };
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.…`, or with domain and account hash before the stream (NATS ADR-15). */
function isRedelivered(ackSubject: string): boolean {
  const tokens = ackSubject.split(".");
  return Number(tokens[tokens.length > 9 ? 6 : 4]) > 1;
}
