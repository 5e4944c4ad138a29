import { createInbox, type Msg } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type Nats, requestTimeoutMs } from "../eventlog/nats.ts";
import { sleep } from "../kernel/wait.ts";
import { decodeJob, type Job } from "./job.ts";

/** A job in somebody's hands. */
export interface Delivery {
  readonly job: Job;
  /** True when the broker had delivered it before. */
  readonly redelivered: boolean;
  /** Where extend, release and finish go. Any server may use it. */
  readonly ackSubject: string;
}

/** Those of this process who wait for the jobs of one lane. */
export interface Dispatcher extends Disposable {
  /** The next job that is there already; undefined when there is none, or when the broker does not say. */
  takeNow(): Promise<Delivery | undefined>;
  /** Makes a job that was taken available again at once. */
  giveBack(delivery: Delivery): void;
  /** Asks the broker anew for everyone who waits: after a reconnect it may have forgotten them. */
  reset(): void;
  /** Calls `take` with the next job for up to `maxWaitMs`; it answers whether it wants it. Returns the way to leave early. */
  wait(maxWaitMs: number, take: (delivery: Delivery) => boolean): () => void;
}

/** A pull is given up this long after the broker should have answered it. */
const pullGraceMs = 2_000;
/** The pause after a pull that went wrong. */
const mendMs = 250;

interface Waiter {
  readonly take: (delivery: Delivery) => boolean;
  readonly deadline: number;
}

/** What a dispatcher needs. */
export interface DispatcherOptions {
  readonly nats: Nats;
  readonly stream: string;
  /** The name of the lane's consumer. */
  readonly durable: string;
  /** Makes the consumer, and the stream, unless they are there. */
  readonly reopen: () => Promise<unknown>;
  readonly log: Logger;
}

/**
 * Pulls exactly as many jobs as there are waiters. A waiter that leaves early leaves its pull behind; the next waiter
 * uses it, and a job that comes meanwhile goes back to its queue at once.
 */
export function createDispatcher({ nats, stream, durable, reopen, log }: DispatcherOptions): Dispatcher {
  const { connection } = nats;
  const pullSubject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`;
  const inbox = createInbox();
  const waiters = new Set<Waiter>();
  // One timer for each pull that the broker has not answered, by the inbox it answers to.
  const pulls = new Map<string, NodeJS.Timeout>();
  let pullCount = 0;
  let mending: Promise<void> | undefined;
  let disposed = false;

  function closePull(id: string): void {
    clearTimeout(pulls.get(id));
    pulls.delete(id);
  }

  function closePulls(): void {
    for (const id of pulls.keys()) closePull(id);
  }

  /** Jobs live in the broker's memory, and the consumer with them: both may be gone after it was restarted. */
  async function mend(): Promise<void> {
    try {
      await reopen();
    } catch (error) {
      log.warn({ err: error, durable }, "jobs can not be asked for, trying again");
    }
    await sleep(mendMs);
    mending = undefined;
    ensurePulls();
  }

  function ensurePulls(): void {
    if (mending !== undefined || disposed) return;
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
      connection.publish(pullSubject, JSON.stringify({ batch: 1, expires: leftMs * 1_000_000 }), { reply: id });
    }
  }

  function onMessage(message: Msg): void {
    const status = message.headers?.code;
    if (status) {
      closePull(message.subject);
      // 408: nothing came in time. Anything else (consumer gone, leader changed) is worth a line and a look.
      if (status === 408) return ensurePulls();
      if (mending === undefined) {
        log.warn({ durable, status, description: message.headers?.description }, "job pull ended");
        mending = mend();
      }
      return;
    }
    // A job comes under its own subject and does not say which pull it answers: the broker takes them in turn.
    const [oldest] = pulls.keys();
    if (oldest !== undefined) closePull(oldest);
    const delivery = deliveryOf(message);
    for (const waiter of waiters) {
      waiters.delete(waiter);
      if (waiter.take(delivery)) return;
    }
    giveBack(delivery);
  }

  function giveBack({ ackSubject }: Delivery): void {
    if (!connection.isClosed()) connection.publish(ackSubject, "-NAK");
  }

  async function takeNow(): Promise<Delivery | undefined> {
    try {
      // A job comes under its own subject: only an inbox that serves this one pull can tell whose it is.
      const options = { timeout: requestTimeoutMs, noMux: true };
      const message = await connection.request(pullSubject, JSON.stringify({ batch: 1, no_wait: true }), options);
      return message.headers?.code ? undefined : deliveryOf(message);
    } catch (error) {
      // Whoever waits after this finds out what is wrong, and mends it.
      log.debug({ err: error, durable }, "jobs can not be asked for");
      return undefined;
    }
  }

  const subscription = connection.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error) log.warn({ err: error, durable }, "job inbox");
      else onMessage(message);
    },
  });

  return {
    takeNow,
    giveBack,
    wait(maxWaitMs, take) {
      const waiter = { take, deadline: performance.now() + maxWaitMs };
      waiters.add(waiter);
      ensurePulls();
      return () => void waiters.delete(waiter);
    },
    reset() {
      closePulls();
      mending ??= mend();
    },
    [Symbol.dispose]: () => {
      disposed = true;
      subscription.unsubscribe();
      closePulls();
    },
  };
}

function deliveryOf(message: Msg): Delivery {
  const ackSubject = message.reply ?? "";
  return { job: decodeJob(message.string()), redelivered: isRedelivered(ackSubject), ackSubject };
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.…`, or with domain and account hash before the stream (NATS ADR-15). */
function isRedelivered(ackSubject: string): boolean {
  const tokens = ackSubject.split(".");
  return Number(tokens[tokens.length > 9 ? 6 : 4]) > 1;
}
