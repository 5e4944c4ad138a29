import { appendFileSync, readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import type { Reason } from "../../src/kernel/errors.ts";

/** How an operation ended for its caller: `fail` was refused with nothing written, `unknown` was never answered. */
export type Outcome = "ok" | "fail" | "unknown";

/** One call of a client or worker, as its history file has it: one line of JSON each. */
export interface Operation {
  /** Unique in the run; sent as the call's correlation id, so that what it wrote can be found in the log. */
  readonly id: string;
  /** The method, for example `CreateRun`. */
  readonly op: string;
  /** What tells it from other calls: `request_id`, `body` (a digest), `run_id`, `lease` (a digest), `step_id`, `key`. */
  readonly args: Readonly<Record<string, string>>;
  /** Milliseconds of a clock that all processes of the machine share. */
  readonly t_invoke: number;
  readonly t_done: number;
  readonly outcome: Outcome;
  /** Why it did not succeed. */
  readonly reason?: string;
  /** The run that the answer is about. */
  readonly run_id?: string;
  /** Where the answer says that the log, or the run, stood. */
  readonly position?: string;
  /** A digest of what every repeat of the call must answer alike. */
  readonly answer?: string;
}

/** What an answer says. */
export type AnswerFacts = Pick<Operation, "run_id" | "position" | "answer">;

/** A call about to be made. */
export type Invocation = Pick<Operation, "op" | "args">;

/** Writes down calls. */
export interface Recorder {
  /** Makes the call and writes down how it went; what it returns or throws is passed on. `fn` gets the operation's id. */
  record<T>(call: Invocation, fn: (id: string) => Promise<T>, facts: (answer: T) => AnswerFacts): Promise<T>;
}

/** What a recorder needs. */
export interface RecorderOptions {
  /** Who calls; starts the ids of its operations. */
  readonly caller: string;
  readonly write: (operation: Operation) => void;
  /** Default: the machine's monotonic clock. */
  readonly now?: () => number;
  /** The reason that a server gave with an error; undefined when no server did. */
  readonly reasonOf: (error: unknown) => string | undefined;
}

/** With these the caller does not know whether something was written. */
const unknownReasons: ReadonlySet<string> = new Set<Reason>(["STORE_UNAVAILABLE", "DRAINING", "READ_MODEL_BEHIND"]);

/** A recorder of one caller. */
export function createRecorder({ caller, write, reasonOf, now = monotonicMs }: RecorderOptions): Recorder {
  let count = 0;
  return {
    async record(call, fn, facts) {
      const id = `${caller}-${++count}`;
      const t_invoke = now();
      try {
        const answer = await fn(id);
        write({ id, ...call, t_invoke, t_done: now(), outcome: "ok", ...facts(answer) });
        return answer;
      } catch (error) {
        const reason = reasonOf(error);
        const outcome = reason === undefined || unknownReasons.has(reason) ? "unknown" : "fail";
        write({ id, ...call, t_invoke, t_done: now(), outcome, reason: reason ?? String(error) });
        throw error;
      }
    },
  };
}

/** What writes lines of JSON to a file. Each is in the file before the call returns: a killed process loses none. */
export function jsonLines(path: string): (line: object) => void {
  return (line) => appendFileSync(path, `${JSON.stringify(line)}\n`);
}

/** The lines of a file that `jsonLines` wrote. A last line that was cut off by a kill is left out. */
export function readJsonLines<T>(path: string): T[] {
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as T);
}

/** A short digest of text or bytes. */
export function digestOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
