import { type Nats, onReconnect } from "../eventlog/nats.ts";

/**
 * Signs of life of running runs, told to every process of the installation and stored nowhere. They only say when it is
 * too early to call a lease lapsed; what protects a run from a late worker is the fencing in its stream.
 */
export interface Heartbeats {
  /** Says that the run's worker is alive. */
  send(runId: string): void;
  /**
   * Calls `hear` with the run id of every sign of life from now on, and `deaf` after each time in which some may have been
   * missed. Disposing the answer ends it.
   */
  listen(hear: (runId: string) => void, deaf: () => void): Disposable;
}

/** Signs of life on a subject of their own. */
export function createHeartbeats(nats: Nats, subject: string): Heartbeats {
  const { connection } = nats;
  return {
    send(runId) {
      if (!connection.isClosed()) connection.publish(subject, runId);
    },
    listen(hear, deaf) {
      const subscription = connection.subscribe(subject, { callback: (_error, message) => hear(message.string()) });
      const reconnects = onReconnect(nats, deaf);
      return {
        [Symbol.dispose]: () => {
          reconnects[Symbol.dispose]();
          subscription.unsubscribe();
        },
      };
    },
  };
}
