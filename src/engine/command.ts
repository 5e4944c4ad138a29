import { HandlerError } from "./handler-error.ts";

/** What a command does: a tool call, or one of the kinds of steps. */
export type CommandKind = "step" | "model" | "sleep" | "run" | "message" | "approval" | "artifact" | "tool";

/** Something that a handler asked for. */
export interface Command {
  /** Its place among everything that the handler asked for, from 1. */
  readonly sequence: number;
  readonly kind: CommandKind;
  /** Tells it from the others of the run, the same in every attempt. */
  readonly key: string;
}

/** Numbers commands. */
export interface CommandCounter {
  /** The next command. Throws a HandlerError INVALID_NAME, counting nothing, for a name that can not be recorded. */
  next(kind: CommandKind, name: string): Command;
}

// A key has up to 200 characters on record, and `#` with a number may come behind the name.
const maxNameLength = 190;

const words: Record<CommandKind, string> = {
  step: "step",
  model: "model request",
  sleep: "sleep",
  run: "child run",
  message: "wait for a message",
  approval: "approval",
  artifact: "artifact",
  tool: "tool call",
};

/** Starts at 1. The second command of a name has the key `name#2`, or the next one that nobody has taken. */
export function createCommandCounter(): CommandCounter {
  const counts = new Map<string, number>();
  const taken = new Set<string>();
  let sequence = 0;

  function keyOf(name: string): string {
    for (;;) {
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      const key = count === 1 ? name : `${name}#${count}`;
      if (!taken.has(key)) return key;
    }
  }

  return {
    next(kind, name) {
      if (typeof name !== "string" || name.length < 1 || name.length > maxNameLength || !name.isWellFormed()) {
        const message = `the name of a ${words[kind]} is text of 1 to ${maxNameLength} characters; got ${shown(name)}`;
        throw new HandlerError("INVALID_NAME", message, { retryable: false });
      }
      const key = keyOf(name);
      taken.add(key);
      return { sequence: ++sequence, kind, key };
    },
  };
}

/** The command in words, for people. */
export function describeCommand({ kind, key }: Command): string {
  return `${words[kind]} "${key}"`;
}

function shown(name: unknown): string {
  return typeof name === "string" ? `${name.length} characters` : typeof name;
}
