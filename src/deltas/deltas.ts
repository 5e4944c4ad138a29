import { toBinary } from "@bufbuild/protobuf";
import { createInbox, type Msg } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { type Delta, type RunDelta, RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import { type Nats, onReconnect } from "../eventlog/nats.ts";
import { ensureStream } from "../eventlog/streams.ts";
import { sleep } from "../kernel/wait.ts";
import { createDeltaQueue } from "./delta-queue.ts";
import { deltasStream, readKept } from "./delta-stream.ts";
import { createDeltaSubjects, type DeltaView } from "./delta-subjects.ts";
import { type DeltaSource, toRunDeltas } from "./join.ts";
import { createTails } from "./tails.ts";

/** The pause after an attempt to make the stream anew that failed. */
const mendMs = 250;

/** The run that makes output. */
export interface DeltaRun extends DeltaSource {
  readonly workspaceId: string;
  /** Empty for none. */
  readonly roomId: string;
}

/** What a subscriber has not taken yet. Disposing it ends it. */
export interface DeltaSubscription extends Disposable {
  /** The next piece: each once, in order for each step, joined with what followed on it meanwhile; undefined for none. */
  take(): RunDelta | undefined;
  /** How many pieces can be taken. */
  readonly length: number;
}

/** Output while it is made: shown to those who look, recorded nowhere, and some of it may be lost. */
export interface Deltas extends AsyncDisposable {
  /** Sends the pieces on their way. Waits for nothing: whether the broker took them is looked at later. */
  publish(run: DeltaRun, deltas: readonly Delta[]): void;
  /**
   * Output of a view from now on; of one run first what is kept of it, without gap or repeat in between. `wake` is called
   * when there is something to take.
   */
  subscribe(view: DeltaView, wake: () => void): DeltaSubscription;
}

/** What output needs. */
export interface DeltasOptions {
  readonly nats: Nats;
  /** The stream's name, default DELTAS. */
  readonly stream: string;
  /** The first token of its subjects, default `sb`. */
  readonly prefix: string;
  readonly log: Logger;
}

/** Opens the way of output from workers to subscribers; creates the stream or checks it. */
export async function openDeltas({ nats, stream, prefix, log }: DeltasOptions): Promise<Deltas> {
  const { connection } = nats;
  const subjects = createDeltaSubjects(prefix);
  const ensure = () => ensureStream(nats.jsm, deltasStream(stream, subjects));
  await ensure();
  const closing = new AbortController();
  const tails = createTails(connection);
  let mending: Promise<void> | undefined;
  let refused = false;

  /** The stream is in the broker's memory: after a restart it is gone, and whoever notices makes it anew. */
  async function mend(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        return await ensure();
      } catch (error) {
        log.warn({ err: error, stream }, "live output is interrupted, trying again");
        await sleep(mendMs, closing.signal);
      }
    }
  }

  function startMending(): void {
    mending ??= mend().finally(() => {
      mending = undefined;
    });
  }

  function onAck(message: Msg): void {
    if (message.headers?.code === 503) return startMending();
    const { error } = message.json<{ error?: unknown }>();
    // Once for many: output comes in a thousand pieces.
    if (error !== undefined && !refused) log.warn({ error, stream }, "live output was refused");
    refused = error !== undefined;
  }

  const inbox = createInbox();
  const acks = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error) log.warn({ err: error }, "live output inbox");
      else onAck(message);
    },
  });
  const reconnects = onReconnect(nats, () => {
    startMending();
    tails.restarted();
  });

  return {
    publish(run, deltas) {
      if (connection.isClosed()) return;
      const subject = subjects.of(run);
      for (const piece of toRunDeltas(run, deltas)) {
        connection.publish(subject, toBinary(RunDeltaSchema, piece), { reply: inbox });
      }
    },
    subscribe(view, wake) {
      const queue = createDeltaQueue();
      const kept =
        view.runId === undefined ? undefined : (after: number) => readKept(nats, stream, subjects.kept(view), after);
      const tail = tails.follow(subjects.live(view), {
        kept,
        take(piece, sizeBytes) {
          queue.push(piece, sizeBytes);
          wake();
        },
        failed: (error) => log.warn({ err: error, stream }, "kept output can not be read"),
      });
      return {
        take: () => queue.take(),
        get length() {
          return queue.length;
        },
        [Symbol.dispose]: () => tail[Symbol.dispose](),
      };
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      reconnects[Symbol.dispose]();
      acks.unsubscribe();
      tails[Symbol.dispose]();
      await mending;
    },
  };
}
