import { type Command, type CommandKind, createCommandCounter } from "./command.ts";
import type { End, EndedEntry, Entry } from "./entry.ts";
import { RunStoppedError, type StopCause } from "./handler-error.ts";
import type { Replay } from "./replay.ts";

/** How one kind of command is done and replayed. */
export interface CommandSpec<T> {
  readonly kind: CommandKind;
  readonly name: string;
  /** Does it. `entry` is what earlier attempts left of it, undefined when it is done for the first time. */
  live(command: Command, entry: Entry | undefined): Promise<T>;
  /** What its recorded end means to the handler; throws the recorded failure. */
  replayed(end: End, entry: EndedEntry): T;
}

/** Does what a handler asks for, once per run. */
export interface Commands {
  /**
   * The result of a command, from the record or done now. Counted at the call, so that the order of calls is the order of
   * commands. The promise may be left alone: it is no unhandled rejection.
   */
  perform<T>(spec: CommandSpec<T>): Promise<T>;
  /** The handler has ended: what it asks for from now on is not done. */
  close(): void;
}

/** What commands need. */
export interface CommandsOptions {
  readonly replay: Replay;
  /** Aborts with a RunStoppedError when nothing more can be recorded. */
  readonly signal: AbortSignal;
  /** Gets the entry with an output that the claim had no room for. */
  readonly fetch: (entry: Entry) => Promise<Entry>;
  /** Told of a command that comes after the end of its handler. */
  readonly onLate: (kind: CommandKind, name: string) => void;
}

/** Starts with the first command. */
export function createCommands({ replay, signal, fetch, onLate }: CommandsOptions): Commands {
  const counter = createCommandCounter();
  let closed = false;

  async function start<T>(spec: CommandSpec<T>): Promise<T> {
    if (closed) {
      onLate(spec.kind, spec.name);
      throw new RunStoppedError("finished");
    }
    signal.throwIfAborted();
    const command = counter.next(spec.kind, spec.name);
    const entry = replay.ask(command);
    if (entry === "diverged") throw new RunStoppedError("finished");
    if (!hasEnded(entry)) return spec.live(command, entry);
    return spec.replayed(await replay.release(entry, () => fetch(entry)), entry);
  }

  return {
    perform(spec) {
      return mayBeLeftAlone(unlessPutAway(start(spec)));
    },
    close() {
      closed = true;
    },
  };
}

/** The same promise, which nobody has to await: a rejection of it that is not handled would end the whole worker. */
export function mayBeLeftAlone<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

function hasEnded(entry: Entry | undefined): entry is EndedEntry {
  return entry?.end !== undefined;
}

const putAway: ReadonlySet<StopCause> = new Set(["suspended", "paused", "finished"]);

/**
 * The same promise, but one that stays unanswered when the handler was put away: it starts again from its first line, or has
 * ended, and a rejection that its leftovers do not expect would end the whole worker.
 */
function unlessPutAway<T>(promise: Promise<T>): Promise<T> {
  return promise.catch((error: unknown) => {
    if (error instanceof RunStoppedError && putAway.has(error.why)) return new Promise<never>(() => {});
    throw error;
  });
}
