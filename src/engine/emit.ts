import type { Value } from "@bufbuild/protobuf/wkt";
import { pause } from "../client/backoff.ts";
import { jsonValue } from "../client/json.ts";
import type { EmittedDelta } from "./handler.ts";
import type { Engine } from "./lease.ts";
import type { WorkerLog } from "./log.ts";

/** Shows output while it is made. Never throws, never waits. */
export interface Emitter {
  /** Under `key` unless the delta names one; a string is text. */
  emit(delta: string | EmittedDelta, key: string): void;
  /** Sends what is there without waiting for more. Resolves when it is sent, or can not be. */
  flush(): Promise<void>;
  /** The same before the run is out of the handler's hands, for no longer than a moment: the output is not worth more. */
  lastWords(): Promise<void>;
}

/** What an emitter needs. */
export interface EmitterOptions {
  readonly engine: Pick<Engine, "publishDeltas">;
  readonly leaseToken: string;
  readonly signal: AbortSignal;
  readonly log: WorkerLog;
}

/** A piece to send; text that follows is put behind it until then. */
interface Piece {
  readonly stepKey: string;
  readonly index: number;
  text: string;
  readonly data: Value | undefined;
}

const flushAfterMs = 50;
/** Characters, and pieces, after which is sent at once. */
const flushAtLength = 4_096;
const flushAtPieces = 50;
/** The most text of one piece, in characters. */
const maxPieceLength = 16_384;
/** What waits at most while the server does not answer; what comes then is left out. A request takes no more. */
const maxPendingLength = 65_536;
const maxPendingPieces = 100;
const timeoutMs = 5_000;
const lastWordsMs = 250;

/** Starts with nothing to send. */
export function createEmitter({ engine, leaseToken, signal, log }: EmitterOptions): Emitter {
  const indexes = new Map<string, number>();
  let pending: Piece[] = [];
  let growing: Piece | undefined;
  let length = 0;
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  function add(stepKey: string, text: string, data: unknown): void {
    const size = text.length + (data === undefined ? 0 : JSON.stringify(data).length);
    const hasRoom = length + size <= maxPendingLength;
    if (growing?.stepKey === stepKey && data === undefined && hasRoom && growing.text.length < maxPieceLength) {
      growing.text += text;
    } else {
      // One that is left out is counted too: the gap tells that it is missing.
      const index = indexes.get(stepKey) ?? 0;
      indexes.set(stepKey, index + 1);
      growing = undefined;
      if (!hasRoom || pending.length >= maxPendingPieces) return;
      const piece = { stepKey, index, text, data: data === undefined ? undefined : jsonValue(data, "the delta") };
      if (data === undefined) growing = piece;
      pending.push(piece);
    }
    length += size;
    if (length >= flushAtLength || pending.length >= flushAtPieces) void flush();
    else timer ??= setTimeout(() => void flush(), flushAfterMs);
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    sending ??= send().finally(() => (sending = undefined));
    return sending;
  }

  async function send(): Promise<void> {
    while (pending.length > 0 && !signal.aborted) {
      const deltas = pending.map((piece) => ({ ...piece, text: piece.text.toWellFormed() }));
      pending = [];
      growing = undefined;
      length = 0;
      await engine.publishDeltas({ leaseToken, deltas }, { signal, timeoutMs }).catch((err: unknown) => {
        if (!signal.aborted) log.debug({ err }, "output in the making was not shown");
      });
    }
  }

  return {
    emit(delta, key) {
      if (signal.aborted) return;
      try {
        const { text = "", data, key: stepKey = key } = typeof delta === "string" ? { text: delta } : delta;
        if (stepKey.length < 1 || stepKey.length > 200)
          throw new RangeError("the key of a delta has 1 to 200 characters");
        if (data !== undefined) add(stepKey, text, data);
        else
          for (let at = 0; at < text.length; at += maxPieceLength)
            add(stepKey, text.slice(at, at + maxPieceLength), undefined);
      } catch (err) {
        log.warn({ err }, "a delta that can not be shown was left out");
      }
    },
    flush,
    async lastWords() {
      await Promise.race([flush(), pause(lastWordsMs, signal)]);
    },
  };
}
