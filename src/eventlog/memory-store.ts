import { createBell } from "../kernel/wait.ts";
import type { LogStore, Publication, PublishOutcome } from "./log-store.ts";
import type { StoredMessage } from "./record.ts";
import { subjectMatches } from "./subjects.ts";

/** What goes wrong with one publication, as it does with a real broker. */
export type PublishFault =
  /** Stored, but the answer is lost. */
  | "stored_without_answer"
  /** Neither stored nor answered. */
  | "lost"
  /** Stored a little later, after the caller was told nothing. */
  | "stored_late";

/** Settings of the in-memory log. */
export interface MemoryStoreOptions {
  /** Decides for each publication what goes wrong; undefined (default) for nothing. */
  readonly fault?: (publication: Publication) => PublishFault | undefined;
  /** How many of the newest messages `batch` does not see yet, like a lagging replica. Default 0. */
  readonly replicaLag?: () => number;
}

/** A log in memory with JetStream's habits: for fast tests, simulations and the test harness. Nothing survives the process. */
export function createMemoryStore(options: MemoryStoreOptions = {}): LogStore {
  const messages: StoredMessage[] = [];
  const newest = new Map<string, StoredMessage>();
  const tails = new Set<() => void>();

  function findLast(filter: string): StoredMessage | undefined {
    if (!/[*>]/.test(filter)) return newest.get(filter);
    return messages.findLast((message) => subjectMatches(filter, message.subject));
  }

  function* following(filter: string, after: bigint, head = messages.length): Generator<StoredMessage> {
    for (const message of messages.values().take(head).drop(Number(after))) {
      if (subjectMatches(filter, message.subject)) yield message;
    }
  }

  function store(publication: Publication): PublishOutcome {
    if ((findLast(publication.filter)?.position ?? 0n) !== publication.expectPosition) return { status: "conflict" };
    const { subject, body, prevHash, hash } = publication;
    const position = BigInt(messages.length) + 1n;
    const message = { position, subject, body, prevHash, hash };
    messages.push(message);
    newest.set(subject, message);
    for (const wake of tails) wake();
    return { status: "stored", position };
  }

  function publish(publication: Publication): PublishOutcome {
    const fault = options.fault?.(publication);
    if (fault === undefined) return store(publication);
    if (fault === "stored_without_answer") store(publication);
    if (fault === "stored_late") setTimeout(() => store(publication), 1);
    return { status: "unknown", cause: new Error(`simulated: ${fault}`) };
  }

  return {
    publish: async (publication) => publish(publication),
    last: async (filter) => findLast(filter),
    next: async (filter, after) => following(filter, after).find(() => true),
    batch: async (filter, after, limit) =>
      following(filter, after, Math.max(0, messages.length - (options.replicaLag?.() ?? 0)))
        .take(limit)
        .toArray(),
    bounds: async () => ({ earliest: 1n, head: BigInt(messages.length) }),
    async *tail(after, signal) {
      const own = createBell();
      tails.add(own.ring);
      try {
        for (let next = Number(after); !signal.aborted;) {
          const message = messages[next];
          if (message === undefined) await own.wait(signal);
          else {
            yield message;
            next++;
          }
        }
      } finally {
        tails.delete(own.ring);
      }
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
