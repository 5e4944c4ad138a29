import type { Nats } from "../eventlog/nats.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { aborted, createBell } from "../kernel/wait.ts";
import type { Postgres } from "./postgres.ts";

/** An announcement may be lost; so a waiting reader looks for itself this often. */
const lookMs = 250;
/** How long a read without a deadline of its own waits. */
const defaultWaitMs = 10_000;

/** How far the read models are, and waiting for them. */
export interface Positions extends AsyncDisposable {
  /** Resolves when the read models have reached the position. READ_MODEL_BEHIND when they do not in time. */
  reach(position: bigint, signal: AbortSignal): Promise<void>;
  /** The projector says how far it has come: every process of the installation hears it. */
  announce(position: bigint): void;
  /** Resolves when somebody in this process waits to reach a position, after `ms`, or when the signal aborts. */
  wanted(ms: number, signal: AbortSignal): Promise<void>;
  /** The newest position that this process has heard of. */
  readonly known: bigint;
}

/** What positions need. */
export interface PositionsOptions {
  readonly nats: Nats;
  readonly postgres: Postgres;
  /** The subject that announcements travel on; not stored. */
  readonly subject: string;
}

/** Follows the projector's announcements. */
export function createPositions({ nats, postgres, subject }: PositionsOptions): Positions {
  let known = 0n;
  const bells = new Set<() => void>();
  const sought = createBell();
  const learn = (position: bigint) => {
    if (position <= known) return;
    known = position;
    for (const ring of bells) ring();
  };
  const subscription = nats.connection.subscribe(subject, {
    callback: (_error, message) => learn(BigInt(message.string() || "0")),
  });

  async function look(): Promise<void> {
    const { rows } = await postgres.db.query<{ position: bigint }>({
      name: "checkpoint_read",
      text: "select position from checkpoints where name = 'projector'",
    });
    learn(rows[0]?.position ?? 0n);
  }

  return {
    get known() {
      return known;
    },
    announce(position) {
      learn(position);
      if (!nats.connection.isClosed()) nats.connection.publish(subject, String(position));
    },
    async wanted(ms, signal) {
      if (bells.size === 0) await sought.wait(signal, ms);
    },
    async reach(position, signal) {
      if (position <= known) return;
      const bell = createBell();
      bells.add(bell.ring);
      sought.ring();
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(defaultWaitMs)]);
      const over = aborted(deadline);
      try {
        await bell.wait(deadline, lookMs / 10);
        while (position > known && !deadline.aborted) {
          // A database that hangs is no reason to wait longer.
          await Promise.race([look(), over]);
          if (position > known) await bell.wait(deadline, lookMs);
        }
      } finally {
        bells.delete(bell.ring);
      }
      if (position > known) {
        throw new SignalboxError(
          "READ_MODEL_BEHIND",
          `the read model is at position ${known} and did not reach ${position} in time; repeat with the same min_position`,
          { position: String(known) },
        );
      }
    },
    [Symbol.asyncDispose]: async () => {
      subscription.unsubscribe();
    },
  };
}
