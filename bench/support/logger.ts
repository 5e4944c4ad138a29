import { destination, type Logger, pino } from "pino";

/** Warnings and errors on stderr: stdout belongs to the report. */
export function createLogger(): Logger {
  return pino({ level: process.env["BENCH_LOG"] ?? "warn" }, destination(2));
}
