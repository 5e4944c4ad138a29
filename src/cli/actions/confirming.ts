import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";

/** Where somebody is asked. */
export interface AskingStreams {
  readonly input: Readable;
  readonly output: Writable;
}

/** Asks, and is true for `y` or `yes`; false for anything else, and when the input ends. Throws when the signal aborts. */
export async function confirmed(
  question: string,
  { input, output }: AskingStreams,
  signal: AbortSignal,
): Promise<boolean> {
  using lines = createInterface({ input, output });
  const ended = new Promise<string>((resolve) => void lines.once("close", () => resolve("")));
  const answer = await Promise.race([lines.question(question, { signal }), ended]);
  return /^y(es)?$/i.test(answer.trim());
}
