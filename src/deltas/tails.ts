import { fromBinary } from "@bufbuild/protobuf";
import { RepublishHeaders } from "@nats-io/jetstream";
import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { type RunDelta, RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import type { KeptDelta } from "./delta-stream.ts";

/** Somebody who follows output. */
export interface Follower {
  /** Reads what is kept behind a number; undefined to begin with what comes now. */
  readonly kept: ((after: number) => AsyncIterable<KeptDelta>) | undefined;
  /** Takes the next piece and its size on the wire. */
  take(piece: RunDelta, sizeBytes: number): void;
  /** Hears why what is kept could not be read; then it goes on with what comes. */
  failed(error: unknown): void;
}

/** What this process hears live: each subject once, however many follow it. */
export interface Tails extends Disposable {
  /** Follows a subject until disposed. */
  follow(subject: string, follower: Follower): Disposable;
  /** The stream may be another one now, whose numbers begin anew. */
  restarted(): void;
}

/** One piece as all who follow a subject get it. */
interface Heard {
  readonly sequence: number;
  readonly piece: RunDelta;
  readonly sizeBytes: number;
}

/** One follower between what is kept and what is live. */
interface Handover {
  hear(heard: Heard): void;
  restarted(): void;
  stop(): void;
}

interface Tail {
  readonly subscription: Subscription;
  readonly handovers: Set<Handover>;
}

/** Nobody follows anything yet. */
export function createTails(connection: NatsConnection): Tails {
  const tails = new Map<string, Tail>();

  function open(subject: string): Tail {
    const handovers = new Set<Handover>();
    const callback = (error: Error | null, message: Msg) => {
      if (error !== null) return;
      const heard = hear(message);
      for (const handover of handovers) handover.hear(heard);
    };
    const tail = { subscription: connection.subscribe(subject, { callback }), handovers };
    tails.set(subject, tail);
    return tail;
  }

  return {
    follow(subject, follower) {
      const tail = tails.get(subject) ?? open(subject);
      // The broker hears of the subscription before it is asked for what is kept: nothing falls between the two.
      const handover = handOver(follower);
      tail.handovers.add(handover);
      return {
        [Symbol.dispose]: () => {
          handover.stop();
          tail.handovers.delete(handover);
          if (tail.handovers.size > 0 || tails.get(subject) !== tail) return;
          tails.delete(subject);
          tail.subscription.unsubscribe();
        },
      };
    },
    restarted() {
      for (const { handovers } of tails.values()) for (const handover of handovers) handover.restarted();
    },
    [Symbol.dispose]: () => {
      for (const { subscription } of tails.values()) subscription.unsubscribe();
      tails.clear();
    },
  };
}

function hear({ data, headers }: Msg): Heard {
  const sequence = Number(headers?.get(RepublishHeaders.Sequence) ?? 0);
  return { sequence, piece: fromBinary(RunDeltaSchema, data), sizeBytes: data.length };
}

/**
 * Until everything kept has been read, what comes live is only counted: it is kept as well, so reading goes on until it has
 * caught up. What was read is not taken again when it comes late.
 */
function handOver({ kept, take, failed }: Follower): Handover {
  let live = kept === undefined;
  let cursor = 0;
  let newest = 0;
  let renumbered = false;
  let stopped = false;

  async function catchUp(read: (after: number) => AsyncIterable<KeptDelta>): Promise<void> {
    let before: { readonly cursor: number; readonly newest: number };
    do {
      before = { cursor, newest };
      for await (const { sequence, body } of read(cursor)) {
        if (stopped) return;
        take(fromBinary(RunDeltaSchema, body), body.length);
        cursor = sequence;
      }
      // A piece that was heard before it was asked for, and is not there, has been dropped.
    } while (newest > cursor && (cursor > before.cursor || newest > before.newest));
  }

  if (kept !== undefined) {
    catchUp(kept)
      .catch(failed)
      .finally(() => {
        live = true;
        if (renumbered) cursor = 0;
      });
  }

  return {
    hear({ sequence, piece, sizeBytes }) {
      newest = sequence;
      if (live && sequence > cursor) take(piece, sizeBytes);
    },
    restarted() {
      newest = 0;
      if (live) cursor = 0;
      else renumbered = true;
    },
    stop() {
      stopped = true;
    },
  };
}
