import { once } from "node:events";
import type { Writable } from "node:stream";
import type { JsonValue } from "@bufbuild/protobuf";
import type { LogStream } from "./logger.ts";

/** How often progress is told where it can not be rewritten in place. */
const progressPauseMs = 5_000;

/** Where a command says things: results to stdout, everything else to stderr. */
export interface Output {
  /** True with `--json`: results are JSON, one value per line. */
  readonly json: boolean;
  /** A result: the value with `--json`, else the text. */
  show(value: JsonValue, text: string): void;
  /** A line on stdout, with and without `--json`. */
  print(text: string): void;
  /** A line on stdout for people only; nothing with `--json`. */
  say(text: string): void;
  /** Text on stdout for people only, without an end of line; whatever comes after it begins on a line of its own. */
  write(text: string): void;
  /** A whole page on stdout: on a terminal in place of what stands there, else below it. With --json nothing. */
  page(text: string): void;
  /** Bytes on stdout as they are, with and without `--json`; resolves when there is room for more. */
  raw(bytes: Uint8Array): Promise<void>;
  /** How many characters a line of stdout holds; undefined where it is no terminal. */
  readonly columns: number | undefined;
  /** A line on stderr. */
  note(text: string): void;
  /** How far long work is: one line rewritten on a terminal, else a line every few seconds. Empty when it is over. */
  progress(text: string): void;
  /** Where log lines go: stderr, after progress is out of the way. */
  readonly logStream: LogStream;
  /** An error: message, reason and way out, on stderr. */
  fail(failure: Failure): void;
}

/** An error as people see it. */
export interface Failure {
  readonly message: string;
  /** What to do about it; empty when the message says it all. */
  readonly hint: string;
  /** The name of the reason in error_reason.proto; undefined when it has none. */
  readonly reason: string | undefined;
}

/** Where to write. */
export interface OutputStreams {
  readonly stdout: Writable & { readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly json: boolean;
  /** Called when nobody reads stdout any more, as in `signalbox events tail | head`. */
  readonly onClosed: () => void;
}

/** The output of one command. Control characters in texts are shown, not sent to the terminal. */
export function createOutput({ stdout, stderr, json, onClosed }: OutputStreams): Output {
  let closed = false;
  let lineIsOpen = false;
  let shownProgress = false;
  let toldMs = 0;

  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    closed = true;
    onClosed();
  });

  function print(text: string): void {
    endLine();
    if (!closed) stdout.write(`${printable(text)}\n`);
  }

  function write(text: string): void {
    if (closed || json || text === "") return;
    stdout.write(printable(text));
    lineIsOpen = !text.endsWith("\n");
  }

  function page(text: string): void {
    if (json) return;
    // Home, and away with everything below: what scrolled out of sight before stays readable.
    if (stdout.columns !== undefined && !closed) stdout.write("\u001b[H\u001b[2J");
    print(text);
  }

  async function raw(bytes: Uint8Array): Promise<void> {
    if (!closed && !stdout.write(bytes)) await once(stdout, "drain");
  }

  function endLine(): void {
    if (lineIsOpen && !closed) stdout.write("\n");
    lineIsOpen = false;
  }

  function clearProgress(): void {
    if (shownProgress) stderr.write("\r\u001b[2K");
    shownProgress = false;
  }

  function note(text: string): void {
    clearProgress();
    endLine();
    stderr.write(`${printable(text)}\n`);
  }

  function progress(text: string): void {
    if (stderr.isTTY === true) {
      clearProgress();
      if (text === "") return;
      stderr.write(printable(text));
      shownProgress = true;
    } else if (text !== "" && performance.now() - toldMs >= progressPauseMs) {
      toldMs = performance.now();
      note(text);
    }
  }

  return {
    json,
    print,
    write,
    page,
    raw,
    get columns() {
      return stdout.columns;
    },
    note,
    progress,
    logStream: {
      isTTY: stderr.isTTY === true,
      write: (line) => {
        clearProgress();
        return stderr.write(line);
      },
    },
    show: (value, text) => print(json ? JSON.stringify(value) : text),
    say: (text) => {
      if (!json) print(text);
    },
    fail: ({ message, hint, reason }) => {
      if (json) return note(JSON.stringify({ error: { message, hint, reason } }));
      note(`error: ${message}${reason === undefined ? "" : ` (${reason})`}`);
      if (hint !== "") note(`hint: ${hint}`);
    },
  };
}

/** What agents and their tools wrote must not move the cursor, recolour the terminal, or show characters in another order. */
function printable(text: string): string {
  // oxlint-disable-next-line eslint/no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
