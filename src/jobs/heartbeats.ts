import type { Nats } from "../eventlog/nats.ts";

/**
 * Signs of life of running runs, told to every process of the installation and stored nowhere. They only say when it is
 * too early to call a lease lapsed; what protects a run from a late worker is the fencing in its stream.
 */
export interface Heartbeats {
  /** Says that the run's worker is alive. */
  send(runId: string): void;
  /** Calls `hear` with the run id of every sign of life from now on. Disposing the answer ends it. */
  listen(hear: (runId: string) => void): Disposable;
}

/** Signs of life on a subject of their own. */
export function createHeartbeats({ connection }: Nats, subject: string): Heartbeats {
  return {
    send(runId) {
      if (!connection.isClosed()) connection.publish(subject, runId);
    },
    listen(hear) {
      const subscription = connection.subscribe(subject, { callback: (_error, message) => hear(message.string()) });
      return { [Symbol.dispose]: () => subscription.unsubscribe() };
    },
  };
}
