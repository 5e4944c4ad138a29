import { setImmediate } from "node:timers/promises";
import type { Activity } from "./activity.ts";
import type { End, Entry } from "./entry.ts";
import { HandlerError, RunStoppedError } from "./handler-error.ts";
import type { Replay } from "./replay.ts";

/**
 * The writes of one attempt, one after the other in the order in which they are asked for: so the log has the ends in the
 * order in which the handler hears of them, and a command that stands behind a failure was asked for by a handler that had
 * survived it.
 */
export interface Journal {
  /**
   * The answer to the start of something. When the server has its end on record already, it comes in the order of the ends.
   * Unanswered once the run is to pause; the handler gets no further than that. `before` is written first, even then.
   */
  start(write: () => Promise<Entry>, before?: () => Promise<unknown>): Promise<Entry>;
  /**
   * The answer to a question that has to be admitted first, and of which the handler is not told. Unanswered once the run is to
   * pause.
   */
  ask<T>(question: () => Promise<T>): Promise<T>;
  /** Resolves when something may be started; unanswered once the run is to pause. */
  admit(): Promise<void>;
  /** The answer to the end of something, once everything on record has been answered. */
  end(write: () => Promise<Entry>): Promise<Entry>;
  /** Another write, of which the handler is not told. */
  write<T>(write: () => Promise<T>): Promise<T>;
  /** From now on nothing is started. */
  pause(note: string): void;
  /** Why nothing is started any more; undefined while things are. */
  pausing(): string | undefined;
  /** How many commands stay unanswered because nothing is started. */
  held(): number;
  /** Nothing is started any more, not even what waits in line: whoever asked is told the reason. What is under way may end. */
  stop(reason: unknown): void;
  /** Nothing more is written. Resolves when what was under way has been. */
  close(): Promise<void>;
}

/** What a journal needs. */
export interface JournalOptions {
  readonly replay: Replay;
  readonly activity: Activity;
  /** Told of each end before it is answered. */
  readonly onEnd: (end: End) => void;
}

type Item<T> = (handOver: (value: T) => void, refuse: (reason: unknown) => void) => Promise<void>;

/** Starts empty. */
export function createJournal({ replay, activity, onEnd }: JournalOptions): Journal {
  let tail = Promise.resolve();
  let stopped: { readonly reason: unknown } | undefined;
  let closed = false;
  let pauseNote: string | undefined;
  const held = new Set<(reason: unknown) => void>();

  function queue<T>(item: Item<T>): Promise<T> {
    const end = activity.begin();
    return new Promise((resolve, reject) => {
      tail = follow(tail, async () => {
        // One that comes too late is dropped, and whoever asked is not told anything any more.
        if (!closed) await item(resolve, reject).catch(reject);
        end();
      });
    });
  }

  async function answer(entry: Entry, handOver: (entry: Entry) => void): Promise<void> {
    await replay.done();
    // Code that can go on without this answer does so before, as it will in a replay.
    await setImmediate();
    if (entry.end !== undefined) onEnd(entry.end);
    handOver(entry);
    await setImmediate();
  }

  function hold(refuse: (reason: unknown) => void): void {
    if (stopped === undefined) held.add(refuse);
    else refuse(stopped.reason);
  }

  /** The answer; undefined when nothing is started any more, so that whoever asked is held. */
  async function unlessHeld<T>(write: () => Promise<T>, refuse: (reason: unknown) => void): Promise<T | undefined> {
    if (stopped === undefined && pauseNote === undefined) {
      try {
        return await write();
      } catch (error) {
        if (!isPause(error)) throw error;
        pauseNote ??= error.message;
      }
    }
    hold(refuse);
    return undefined;
  }

  return {
    start: (write, before) =>
      queue(async (handOver, refuse) => {
        await before?.();
        const entry = await unlessHeld(write, refuse);
        if (entry?.end !== undefined) await answer(entry, handOver);
        else if (entry !== undefined) handOver(entry);
      }),
    ask: (question) =>
      queue(async (handOver, refuse) => {
        const answered = await unlessHeld(async () => ({ value: await question() }), refuse);
        if (answered !== undefined) handOver(answered.value);
      }),
    admit: () =>
      queue(async (handOver, refuse) => {
        if (stopped === undefined && pauseNote === undefined) handOver();
        else hold(refuse);
      }),
    end: (write) => queue(async (handOver) => answer(await write(), handOver)),
    write: (write) => queue(async (handOver) => handOver(await write())),
    pause(note) {
      pauseNote ??= note;
      activity.look();
    },
    pausing: () => pauseNote,
    held: () => held.size,
    stop(reason) {
      stopped ??= { reason };
      for (const refuse of held) refuse(stopped.reason);
      held.clear();
    },
    close() {
      closed = true;
      replay.stop(new RunStoppedError("finished"));
      return tail;
    },
  };
}

const pauses: ReadonlySet<string> = new Set(["BUDGET_EXCEEDED", "PAUSE_REQUESTED", "KILL_SWITCH_ON"]);

function isPause(error: unknown): error is HandlerError {
  return error instanceof HandlerError && pauses.has(error.code);
}

async function follow(earlier: Promise<void>, next: () => Promise<void>): Promise<void> {
  await earlier;
  await next();
}
