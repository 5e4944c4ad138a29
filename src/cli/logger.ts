import { styleText } from "node:util";
import { type Logger, pino, stdTimeFunctions } from "pino";
import type { Settings } from "./settings.ts";

/** Where log lines go. */
export interface LogStream {
  readonly isTTY?: boolean;
  write(line: string): unknown;
}

/** A logger that writes JSON lines, or lines for people when the stream is a terminal. */
export function createLogger(level: Settings["logLevel"], stream: LogStream): Logger {
  const target = stream.isTTY === true ? { write: (line: string) => stream.write(humanLine(line)) } : stream;
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, target);
}

interface LogLine {
  readonly level: number;
  readonly time: string;
  readonly msg?: string;
  readonly err?: { readonly message?: string; readonly stack?: string };
  readonly [field: string]: unknown;
}

const warnLevel = 40;
const errorLevel = 50;

/** `12:00:01 warn  nats disconnected  port=4222`; the stack of an error below it from level error on. */
function humanLine(json: string): string {
  const { level, time, msg = "", err, ...fields } = JSON.parse(json) as LogLine;
  const name = (pino.levels.labels[level] ?? String(level)).padEnd(5);
  const style = level >= errorLevel ? "red" : level >= warnLevel ? "yellow" : "dim";
  const data = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  if (err?.message !== undefined) data.push(`err=${JSON.stringify(err.message)}`);
  const stack = level >= errorLevel && err?.stack !== undefined ? `\n${err.stack}` : "";
  const clock = styleText("dim", time.slice(11, 19), { validateStream: false });
  return `${[clock, styleText(style, name, { validateStream: false }), msg, ...data].join(" ")}${stack}\n`;
}
