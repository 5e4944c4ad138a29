import { setImmediate } from "node:timers/promises";
import type { Activity } from "./activity.ts";
import { type Command, describeCommand } from "./command.ts";
import type { End, EndedEntry, Entry } from "./entry.ts";
import { HandlerError, RunStoppedError } from "./handler-error.ts";
import type { RunRecord } from "./record.ts";

/** A handler going over what is on record. */
export interface Replay {
  /** True once everything on record has been asked for and answered. */
  isDone(): boolean;
  /** What the record has at the place of a command; undefined for nothing. `diverged` when it has something else. */
  ask(command: Command): Entry | undefined | "diverged";
  /**
   * The recorded end of a command, when its turn has come: what ended first is answered first, with a turn of the event
   * loop in between, so that code that runs side by side takes the same way as it did. `fetch` gets what was left out.
   */
  release(entry: EndedEntry, fetch: () => Promise<Entry>): Promise<End>;
  /** Resolves when the replay is done: what happens now comes after everything on record. */
  done(): Promise<void>;
  /** Somebody waits for the handler to go on with the replay: it has not for ever. */
  press(): void;
  /** The first on record that was not asked for; undefined when there is none. */
  missing(): Command | undefined;
  /** No more answers: those who wait are told the reason. */
  stop(reason: RunStoppedError): void;
}

/** What a replay needs. */
export interface ReplayOptions {
  readonly record: RunRecord;
  readonly activity: Activity;
  /** Told of each end before it is answered. */
  readonly onEnd: (end: End) => void;
  /** Told, at most once, that the handler does not do what it did when the record was made. */
  readonly onDivergence: (error: HandlerError) => void;
  /** How long the handler may take to ask for what is next on record, in milliseconds, default 10,000. */
  readonly patienceMs?: number | undefined;
}

interface Turn {
  readonly entry: EndedEntry;
  readonly fetch: () => Promise<Entry>;
  readonly resolve: (end: End) => void;
  readonly reject: (reason: unknown) => void;
}

/** Starts at the beginning of the record. */
export function createReplay({ record, activity, onEnd, onDivergence, patienceMs = 10_000 }: ReplayOptions): Replay {
  const unasked = new Set(record.entries.map(({ command }) => command.sequence));
  const turns = new Map<number, Turn>();
  const finished = Promise.withResolvers<void>();
  finished.promise.catch(() => {});
  let released = 0;
  let pumping = false;
  let stopped = false;
  let pressed = false;
  let patience: NodeJS.Timeout | undefined;

  const isDone = () => unasked.size === 0 && released === record.ended.length && !pumping;

  /** What the handler has to ask for before anything else can be answered. */
  function awaited(): Entry | undefined {
    const next = record.ended[released];
    if (next !== undefined && unasked.has(next.command.sequence)) return next;
    const [first] = unasked;
    return first === undefined ? undefined : record.at(first);
  }

  function diverge(message: string): void {
    stop(new RunStoppedError("finished"));
    onDivergence(new HandlerError("NON_DETERMINISTIC", message, { retryable: false }));
  }

  /** Goes on as far as the handler has asked. */
  async function pump(): Promise<void> {
    if (pumping || stopped) return;
    pumping = true;
    const end = activity.begin();
    // Whoever has just asked may ask for more before it waits for an answer.
    await setImmediate();
    for (;;) {
      const turn = turns.get(record.ended[released]?.command.sequence ?? 0);
      if (turn === undefined || stopped) break;
      await answer(turn);
      await setImmediate();
    }
    pumping = false;
    step();
    end();
  }

  async function answer({ entry, fetch, resolve, reject }: Turn): Promise<void> {
    try {
      const fetched = entry.outputOmitted ? (await fetch()).end : undefined;
      onEnd(entry.end);
      resolve(fetched ?? entry.end);
    } catch (error) {
      reject(error);
    }
    turns.delete(entry.command.sequence);
    released++;
  }

  /** After each step forward: ends the replay, or gives the handler time anew while somebody waits for it. */
  function step(): void {
    clearTimeout(patience);
    if (isDone()) finished.resolve();
    const missed = awaited();
    if (stopped || pumping || missed === undefined || !(pressed || turns.size > 0)) return;
    patience = setTimeout(() => diverge(tooLate(missed, [...turns.values()])), patienceMs);
  }

  function stop(reason: RunStoppedError): void {
    if (stopped) return;
    stopped = true;
    clearTimeout(patience);
    for (const { reject } of turns.values()) reject(reason);
    finished.reject(reason);
  }

  function press(): void {
    pressed = true;
    step();
  }

  step();
  return {
    isDone,
    ask(command) {
      const entry = record.at(command.sequence);
      if (entry === undefined) return undefined;
      if (entry.command.kind !== command.kind || entry.command.key !== command.key) {
        diverge(otherCommand(entry.command, command));
        return "diverged";
      }
      unasked.delete(command.sequence);
      step();
      return entry;
    },
    release(entry, fetch) {
      return new Promise((resolve, reject) => {
        turns.set(entry.command.sequence, { entry, fetch, resolve, reject });
        step();
        void pump();
      });
    },
    done() {
      press();
      return finished.promise;
    },
    press,
    missing() {
      const [first] = unasked;
      return first === undefined ? undefined : record.at(first)?.command;
    },
    stop,
  };
}

const wayOut = "a handler asks for the same in every attempt, so give changed code another handler name";

function otherCommand(recorded: Command, asked: Command): string {
  const { sequence } = asked;
  return `the record has ${describeCommand(recorded)} at place ${sequence}, but the handler asked for ${describeCommand(asked)}; ${wayOut}`;
}

function tooLate({ command }: Entry, turns: readonly Turn[]): string {
  const waiting = turns.map(({ entry }) => describeCommand(entry.command)).join(", ");
  const instead = waiting === "" ? "waits for something else" : `waits for ${waiting}`;
  return `the record has ${describeCommand(command)} at place ${command.sequence} next, but the handler did not ask for it and ${instead}; ${wayOut}`;
}
